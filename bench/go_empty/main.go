// The other yardstick: an empty gRPC server in Go. It reads the CheckRequest and answers OK. SIGTERM ends it.
//
// Run: empty ADDRESS
package main

import (
	"context"
	"log"
	"net"
	"os"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

type empty struct{}

func (empty) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	ok := &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}}
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: ok}, nil
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, empty{})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	log.Fatal(server.Serve(listener))
}
