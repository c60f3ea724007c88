"""Real Envoys in tests: the sidecar of `envoy/envoy.yaml` before a given service, asking a given authorizer.

`yard` is the fixture; `Authorizer` is a scripted peer for what no correct authz would do (hang, say nothing, abort).
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from authz.core.errors import Unavailable
from authz.demo.agents import Answered, Caller, Credentials, Headers, Outcome, Remote
from authz.demo.ca import Certificate, DevelopmentCa
from authz.demo.envoys import LOOPBACK, Address, Envoy, Sidecar, binary
from authz.demo.tools import Received, Tool
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse

AUTHZ_ID = "spiffe://example.org/authz"
SERVICE_ID = "spiffe://example.org/tool/service"
AGENT_ID = "spiffe://example.org/agent/research"
HOST = "service.example.org"
PATIENCE_SECONDS = 10.0
AUTHORIZATION = "envoy.service.auth.v3.Authorization"

Script = Callable[[CheckRequest, grpc.ServicerContext], CheckResponse]


def allow(_check: CheckRequest, _context: grpc.ServicerContext) -> CheckResponse:
    """Allow, changing nothing."""
    return CheckResponse(status={"code": 0}, ok_response={})


def deny(_check: CheckRequest, _context: grpc.ServicerContext) -> CheckResponse:
    """Deny with a body like that of authz."""
    body = '{"error": "denied", "reason": "action_not_granted", "decision_id": "d-1"}'
    denied = DeniedHttpResponse(status={"code": 403}, body=body)
    return CheckResponse(status={"code": 7}, denied_response=denied)


class Authorizer:
    """A gRPC server with mTLS that answers checks by its `script`, and keeps those it got in `checks`."""

    def __init__(self, certificate: Certificate, client_authorities: str, script: Script = allow) -> None:
        self.script = script
        self.checks: list[CheckRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.healthy = health.HealthServicer()
        self.healthy.set(AUTHORIZATION, health_pb2.HealthCheckResponse.SERVING)
        self._server = grpc.server(ThreadPoolExecutor(4))
        handlers = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._check, CheckRequest.FromString, lambda answer: answer.SerializeToString()
            )
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(AUTHORIZATION, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self.healthy, self._server)
        pair = (certificate.key_pem.encode(), certificate.chain_pem.encode())
        credentials = grpc.ssl_server_credentials([pair], client_authorities.encode(), require_client_auth=True)
        self.address = Address(LOOPBACK, self._server.add_secure_port(f"{LOOPBACK}:0", credentials))
        self._server.start()

    def _check(self, check: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
        self.checks.append(check)
        self.metadata.append({item.key: item.value for item in context.invocation_metadata()})
        return self.script(check, context)

    def stop(self) -> None:
        """Close the port at once."""
        self._server.stop(0).wait()


class Yard:
    """A folder with two authorities, and the Envoys and authorizers that a test starts in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._count = 0
        self.ca, self.foreign = DevelopmentCa("example.org"), DevelopmentCa("evil.example")
        self.bundle_file = self._write("bundle.pem", self.ca.bundle_pem)
        self._both_file = self._write("both.pem", self.ca.bundle_pem + self.foreign.bundle_pem)
        self.agent = self.caller(self.ca.mint(AGENT_ID))

    def authorizer(self, script: Script = allow, *, spiffe_id: str = AUTHZ_ID) -> Authorizer:
        """A scripted authorizer that proves itself as `spiffe_id`."""
        authorizer = Authorizer(self.ca.mint(spiffe_id), self.ca.bundle_pem, script)
        self._stack.callback(authorizer.stop)
        return authorizer

    def envoy(  # noqa: PLR0913  what an Envoy is told
        self,
        service: Address,
        authz: Address,
        *,
        failure_mode_allow: bool = False,
        careless: bool = False,
        check_timeout_seconds: float | None = PATIENCE_SECONDS,
        asker: Certificate | None = None,
        normalizes_paths: bool = True,
        is_grpc: bool = False,
    ) -> Envoy:
        """A live Envoy before `service` that asks `authz`; with a careless door beside the hardened one if wanted.

        It has a correct SVID of the service; to authz it shows `asker`, if that is given.
        """
        name = self._next("service")
        # gRPC clients of Python find a server by its DNS name alone.
        certificate_file, private_key_file = self.ca.mint(SERVICE_ID, dns=(HOST,) if is_grpc else ()).write(
            self.folder, name
        )
        sidecar = Sidecar(
            name=name,
            service=service,
            authz=authz,
            certificate_file=certificate_file,
            private_key_file=private_key_file,
            bundle_file=self.bundle_file,
            failure_mode_allow=failure_mode_allow,
            # Where errors pass, a slow machine would look like a wrong allow.
            check_timeout_seconds=check_timeout_seconds,
            careless_ca_file=self._both_file if careless else None,
            normalizes_paths=normalizes_paths,
            is_grpc=is_grpc,
            shown_to_authz=asker.write(self.folder, f"{name}-asker") if asker else None,
        )
        return self._stack.enter_context(Envoy(sidecar, self.folder))

    def caller(self, certificate: Certificate | None) -> Caller:
        """Someone who shows this certificate, or none."""
        if certificate is None:
            return Caller(self.bundle_file, None)
        return Caller(self.bundle_file, Credentials(*certificate.write(self.folder, self._next("caller"))))

    def _next(self, name: str) -> str:
        self._count += 1
        return f"{name}-{self._count}"

    def _write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name


def settled(caller: Caller, remote: Remote, method: str, path: str, headers: Headers = ()) -> Outcome:
    """The outcome of a call, asked again where a stalled machine made Envoy give a check up."""
    return caller.call_patiently(remote, method, path, headers)[0]


def validate(configuration_file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What Envoy says of a configuration when it is started in that folder."""
    command: list[str | Path] = [binary(), "--mode", "validate", "--config-path", configuration_file]
    command.append("--disable-hot-restart")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def hardened(envoy: Envoy, host: str = HOST) -> Remote:
    """The service behind the Envoy's hardened door."""
    return Remote(host, envoy.door, SERVICE_ID)


def careless(envoy: Envoy, host: str = HOST) -> Remote:
    """The service behind the door with Envoy's default validator."""
    return Remote(host, envoy.careless_door, SERVICE_ID)


class Place:
    """A service, its Envoy and a scripted authorizer."""

    def __init__(self, yard: Yard, service: Tool) -> None:
        self.yard = yard
        self.service = service
        self.authorizer = yard.authorizer()
        self.envoy = yard.envoy(service.address, self.authorizer.address, careless=True)
        self._before = 0

    def begin(self) -> None:
        """For a test of its own: an authorizer that allows, and nothing noted yet."""
        self.authorizer.script = allow
        self.authorizer.checks.clear()
        self.authorizer.metadata.clear()
        self._before = len(self.service.received)

    @property
    def received(self) -> tuple[Received, ...]:
        """What the service got since the test began."""
        return self.service.received[self._before :]

    def call(self, path: str = "/people/3", headers: Headers = (), *, method: str = "GET") -> Answered:
        """What the agent is answered at the hardened door."""
        outcome = settled(self.yard.agent, hardened(self.envoy), method, path, headers)
        assert isinstance(outcome, Answered), outcome
        return outcome

    @property
    def check(self) -> CheckRequest:
        """The last check."""
        return self.authorizer.checks[-1]

    def header(self, name: str) -> list[bytes]:
        """The values of a header in the last check."""
        headers = self.check.attributes.request.http.header_map.headers
        return [header.raw_value for header in headers if header.key == name]


@contextmanager
def open_yard(folder: Path) -> Iterator[Yard]:
    """A yard whose Envoys and authorizers are stopped at the end, the last first."""
    with ExitStack() as stack:
        yield Yard(folder, stack)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A yard for the tests of one module."""
    try:
        binary()
    except Unavailable as error:
        pytest.skip(str(error))
    with open_yard(tmp_path_factory.mktemp("yard")) as opened:
        yield opened
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tool")]
