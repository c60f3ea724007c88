"""A development Workload API: what development authorities mint, served on a Unix socket over the real protocol.

It attests nobody: the socket is the identity, and whoever can open it is the workload that it was made for. A real one
is SPIRE's. Whatever changes is pushed to every open stream at once.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition
from typing import Any, NoReturn, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.message import Message
from spiffe import JwtBundle, JwtSvid, TrustDomain
from spiffe._proto import workload_pb2 as messages
from spiffe.errors import PySpiffeError

from authz.demo.ca import Certificate, DevelopmentCa
from authz.demo.jwt_authority import JwtAuthority, jwk_set

SCHEME = "spiffe://"
_STREAMS_AT_ONCE = 64  # each holds a thread
_LOOK_SECONDS = 5.0  # how soon a thread notices that its caller has gone without a word
_R = TypeVar("_R", bound=Message)


@dataclass
class Holdings:
    """What the Workload API tells. Bundles are by trust domain, as bytes, so that they can also be broken ones."""

    svids: list[Certificate]
    trust_domain: str  # whose bundle stands beside the SVIDs; the others are federated
    x509_bundles: dict[str, bytes] = field(default_factory=dict)
    jwk_sets: dict[str, bytes] = field(default_factory=dict)

    def x509_message(self) -> messages.X509SVIDResponse:
        """All SVIDs with their bundle, and the federated bundles."""
        own = self.x509_bundles.get(self.trust_domain, b"")
        federated = {f"{SCHEME}{name}": der for name, der in self.x509_bundles.items() if name != self.trust_domain}
        return messages.X509SVIDResponse(
            svids=[_svid_message(each, own) for each in self.svids], federated_bundles=federated
        )

    def x509_bundles_message(self) -> messages.X509BundlesResponse:
        """All X.509 bundles."""
        return messages.X509BundlesResponse(bundles={f"{SCHEME}{k}": v for k, v in self.x509_bundles.items()})

    def jwt_message(self) -> messages.JWTBundlesResponse:
        """All JWK sets."""
        return messages.JWTBundlesResponse(bundles={f"{SCHEME}{k}": v for k, v in self.jwk_sets.items()})


class DevelopmentWorkloadApi:
    """One socket for one workload. Every method may be called from any thread."""

    def __init__(
        self, socket: Path, spiffe_id: str, ca: DevelopmentCa, *, federated: Iterable[DevelopmentCa] = ()
    ) -> None:
        self.socket, self.spiffe_id, self._ca = socket, spiffe_id, ca
        self.jwt_authority = JwtAuthority()
        self.without_jwt = False  # as an agent that has no JWT profile
        domains = (ca, *federated)
        self._told = Holdings(
            [ca.mint(spiffe_id)],
            ca.trust_domain,
            {each.trust_domain: bundle_der([each.root]) for each in domains},
            {ca.trust_domain: jwk_set([self.jwt_authority])},
        )
        self._changed = Condition()
        self._changes = 0
        self._epoch = 0  # streams of an older one are dropped
        self._refusal: grpc.StatusCode | None = None
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def endpoint(self) -> str:
        """The socket, as SPIFFE_ENDPOINT_SOCKET names it."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Serve; after `stop` also again, on the same path."""
        self._threads = ThreadPoolExecutor(_STREAMS_AT_ONCE, thread_name_prefix="workload-api")
        self._server = grpc.server(self._threads)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        """Drop every stream and take the socket away."""
        if self._server is None or self._threads is None:
            return
        ended = self._server.stop(None)
        self.drop_streams()
        ended.wait()
        self._threads.shutdown()
        self._server = self._threads = None

    @contextlib.contextmanager
    def tell(self) -> Iterator[Holdings]:
        """Change what is told; it is pushed to every stream when the block ends."""
        with self._changed:
            yield self._told
            self._changes += 1
            self._changed.notify_all()

    def rotate(self) -> Certificate:
        """Push a new SVID for the workload; returns it."""
        minted = self._ca.mint(self.spiffe_id)
        with self.tell() as told:
            told.svids = [minted]
        return minted

    def drop_streams(self) -> None:
        """End every open stream; new ones are served."""
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    def refuse(self, code: grpc.StatusCode) -> None:
        """Answer this to every open stream and every call, as to a workload without an entry, until `admit`."""
        with self._changed:
            self._refusal = code
            self._changed.notify_all()

    def admit(self) -> None:
        """Refuse no longer."""
        self._refusal = None

    def _handlers(self) -> grpc.GenericRpcHandler:
        streams: dict[str, Callable[[Holdings], Message]] = {
            "FetchX509SVID": Holdings.x509_message,
            "FetchX509Bundles": Holdings.x509_bundles_message,
            "FetchJWTBundles": Holdings.jwt_message,
        }
        handlers = {method: self._streaming(method, make) for method, make in streams.items()}
        handlers["FetchJWTSVID"] = _unary(self._fetch_jwt_svid, messages.JWTSVIDRequest)
        handlers["ValidateJWTSVID"] = _unary(self._validate_jwt_svid, messages.ValidateJWTSVIDRequest)
        return grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", handlers)

    def _streaming(self, method: str, make: Callable[[Holdings], Message]) -> grpc.RpcMethodHandler:
        def serve(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            if self.without_jwt and "JWT" in method:
                _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method}")
            context.add_callback(self._wake)
            epoch, seen = self._epoch, -1
            while context.is_active():
                with self._changed:
                    self._must_serve(context, epoch)
                    if self._changes == seen:
                        self._changed.wait(_LOOK_SECONDS)
                        continue
                    seen = self._changes
                    message = make(self._told).SerializeToString()
                yield message

        return grpc.unary_stream_rpc_method_handler(serve)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _must_serve(self, context: grpc.ServicerContext, epoch: int) -> None:
        _must_have_header(context)
        if self._refusal is not None:
            _abort(context, self._refusal, "no identity issued")
        if epoch != self._epoch:
            _abort(context, grpc.StatusCode.UNAVAILABLE, "the stream was dropped")

    def _fetch_jwt_svid(self, request: messages.JWTSVIDRequest, context: grpc.ServicerContext) -> Message:
        self._must_serve(context, self._epoch)
        if not request.audience:
            _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "an audience is required")
        if request.spiffe_id not in ("", self.spiffe_id):
            _abort(context, grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        token = self.jwt_authority.mint(self.spiffe_id, request.audience)
        return messages.JWTSVIDResponse(svids=[messages.JWTSVID(spiffe_id=self.spiffe_id, svid=token)])

    def _validate_jwt_svid(self, request: messages.ValidateJWTSVIDRequest, context: grpc.ServicerContext) -> Message:
        self._must_serve(context, self._epoch)
        trust_domain = TrustDomain(self._told.trust_domain)
        try:
            bundle = JwtBundle.parse(trust_domain, self._told.jwk_sets[trust_domain.name])
            svid = JwtSvid.parse_and_validate(request.svid, bundle, {request.audience})
        except (PySpiffeError, KeyError) as error:
            _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        answer = messages.ValidateJWTSVIDResponse(spiffe_id=str(svid.spiffe_id))
        answer.claims.update({"sub": str(svid.spiffe_id), "aud": sorted(svid.audience), "exp": svid.expiry})
        return answer


def bundle_der(authorities: Iterable[x509.Certificate]) -> bytes:
    """The authorities of a trust domain as the Workload API has them: DER, one behind the other."""
    return b"".join(each.public_bytes(Encoding.DER) for each in authorities)


def _svid_message(svid: Certificate, bundle: bytes) -> messages.X509SVID:
    names = svid.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return messages.X509SVID(
        spiffe_id=names.get_values_for_type(x509.UniformResourceIdentifier)[0],
        x509_svid=bundle_der([svid.certificate, *svid.intermediates]),
        x509_svid_key=svid.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        bundle=bundle,
    )


def _unary(serve: Callable[[Any, grpc.ServicerContext], Message], request: type[_R]) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        serve, request_deserializer=request.FromString, response_serializer=lambda answer: answer.SerializeToString()
    )


def _must_have_header(context: grpc.ServicerContext) -> None:
    """SPIFFE Workload Endpoint, section 6.1: callers send a header that nobody can be made to send by accident."""
    if ("workload.spiffe.io", "true") not in {(each.key, each.value) for each in context.invocation_metadata()}:
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, why: str) -> NoReturn:
    context.abort(code, why)
    raise AssertionError("abort raises")
