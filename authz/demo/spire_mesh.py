"""A small mesh over SPIRE as a context: two federated trust domains, authz, and a tool behind an Envoy.

example.org has the tool, authz and the agent `research`; partner.example has the agent `auditor`. No certificate and no
bundle is in a file of theirs: all come from the Workload API. Whatever happens inside, all that was started is ended,
the last first, and the folder is removed unless kept.
"""

import atexit
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from cryptography import x509

from authz.demo import tools
from authz.demo.agents import Caller, Credentials, Headers, NoAnswer, Outcome, Remote
from authz.demo.credentials import AUTHZ_ID, TRUST_DOMAIN, spiffe_id, tool_host
from authz.demo.envoys import Address, binary
from authz.demo.interrupts import Interrupts
from authz.demo.spire_authz import Errand, SpireAuthz
from authz.demo.spire_domain import SpireDomain, Workload
from authz.demo.spire_programs import find_spire, this_interpreter, under_own_path
from authz.demo.spire_sidecar import SpireEnvoy, SpireSidecar
from authz.demo.tools import Tool

PARTNER_DOMAIN = "partner.example"
RESEARCH, AUDITOR = "research", "auditor"
SVID_SECONDS = 30
"""How long every SVID lives; SPIRE renews each about ten seconds after it was issued."""
AGENT_IDS = {RESEARCH: spiffe_id(RESEARCH), AUDITOR: f"spiffe://{PARTNER_DOMAIN}/agent/{AUDITOR}"}
_TOOL = "crm"
_CHECK_SECONDS = 10.0
_SHOWN_SECONDS = 5.0


class SpireMesh:
    """The running mesh. SIGINT and SIGTERM interrupt what goes on inside it, as KeyboardInterrupt."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._interrupts = Interrupts()
        self._kept = False
        self._task_ids: dict[Errand, str] = {}
        self.programs: dict[str, Path] = {}  # by workload: what SPIRE tells it by

    def __enter__(self) -> Self:
        # A signal between two steps of leaving could skip the rest; the interpreter's end would still do it.
        atexit.register(self._close)
        try:
            self._stack.enter_context(self._interrupts)
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def keep(self) -> None:
        """Leave the folder, with all logs, where it is."""
        self._kept = True

    def renew(self, who: str) -> Credentials:
        """Let an agent fetch the SVID of now, and the bundles; raises Unavailable."""
        folder = self._wallet(who)
        folder.mkdir(exist_ok=True)
        self._home_of(who).fetch(self.programs[who], folder)
        return Credentials(folder / "svid.0.pem", folder / "svid.0.key")

    def caller(self, who: str) -> Caller:
        """An agent with what it has fetched last. A foreign one federates with example.org alone."""
        folder = self._wallet(who)
        bundle = "bundle.0.pem" if self._home_of(who) is self.home else "federated_bundle.0.0.pem"
        return Caller(folder / bundle, Credentials(folder / "svid.0.pem", folder / "svid.0.key"))

    def authorities(self, who: str) -> int:
        """How many authorities of example.org the agent has fetched last."""
        return len(x509.load_pem_x509_certificates(self.caller(who).bundle_file.read_bytes()))

    def call(self, who: str, errand: Errand, method: str = "GET", path: str = "/contacts/7") -> Outcome:
        """What comes of one hop of an agent to the tool, through its Envoy."""
        headers: Headers = [("x-task-id", self.task_id(errand))]
        return self.caller(who).call(self.remote, method, path, headers, b"{}" if method == "PUT" else b"")

    def task_id(self, errand: Errand) -> str:
        """The task of that errand, started at its first use; raises Unavailable."""
        if errand not in self._task_ids:
            self._task_ids[errand] = self.authz.start_errand(errand)
        return self._task_ids[errand]

    @property
    def remote(self) -> Remote:
        """The tool as its callers reach it."""
        return Remote(tool_host(_TOOL), self.envoy.door, spiffe_id(_TOOL))

    def shown_by_envoy(self) -> x509.Certificate:
        """The certificate with which Envoy proves itself to callers now."""
        return _shown(self.envoy.door, "http/1.1", self.renew(RESEARCH))

    def shown_by_authz(self) -> x509.Certificate:
        """The certificate with which authz proves itself to Envoys now."""
        return _shown(self.authz.address, "h2", self.renew(RESEARCH))

    @property
    def logs(self) -> list[Path]:
        """Where to look when something is not as expected."""
        return [self.authz.log_file, self.authz.audit_file, self.envoy.log_file, *self.home.logs, *self.partner.logs]

    def _start(self) -> None:
        self._spire = find_spire()
        with self._interrupts.held():
            # Resolved, for SPIRE compares the paths of programs with those that the kernel knows.
            self.folder = Path(tempfile.mkdtemp(prefix="authz-spire-")).resolve()
            self._stack.callback(self._remove_folder)
        self.home, self.partner = (self._domain(name) for name in (TRUST_DOMAIN, PARTNER_DOMAIN))
        self._name_programs()
        self._on_both(SpireDomain.start_server, SpireDomain.wait_for_server)
        self.exchange_bundles()
        for domain in (self.home, self.partner):
            domain.admit_agent()
        self.home.register(
            [
                self._workload(AUTHZ_ID, "authz", PARTNER_DOMAIN),
                self._workload(spiffe_id(_TOOL), _TOOL, PARTNER_DOMAIN),
                self._workload(AGENT_IDS[RESEARCH], RESEARCH),
            ]
        )
        self.partner.register([self._workload(AGENT_IDS[AUDITOR], AUDITOR, TRUST_DOMAIN)])
        self._on_both(SpireDomain.start_agent, SpireDomain.wait_for_agent)
        self._start_workloads()
        for who in AGENT_IDS:
            self.renew(who)

    def exchange_bundles(self) -> None:
        """Let each trust domain know the other's authorities of now; raises Unavailable."""
        self.home.federate_with(self.partner)
        self.partner.federate_with(self.home)

    def _on_both(self, start: Callable[[SpireDomain], None], wait: Callable[[SpireDomain], None]) -> None:
        """Start something of both, side by side."""
        for domain in (self.home, self.partner):
            with self._interrupts.held():
                start(domain)
        for domain in (self.home, self.partner):
            wait(domain)

    def _domain(self, name: str) -> SpireDomain:
        folder = self.folder / name
        folder.mkdir()
        domain = SpireDomain(name, folder, self._spire)
        self._stack.callback(domain.stop)
        return domain

    def _name_programs(self) -> None:
        folder = self.folder / "programs"
        folder.mkdir()
        self.programs = {name: under_own_path(self._spire.agent, folder, name) for name in AGENT_IDS}
        self.programs[_TOOL] = under_own_path(binary(), folder, "envoy-of-crm")
        # Every Python of ours is authz to SPIRE, and there is no other here. A path of its own would take authz away
        # from the environment that it is installed in.
        self.programs["authz"] = this_interpreter()

    def _workload(self, id: str, program: str, *federates_with: str) -> Workload:
        own = self.programs[program]
        return Workload(spiffe_id=id, program=own, svid_seconds=SVID_SECONDS, federates_with=federates_with)

    def _start_workloads(self) -> None:
        with self._interrupts.held():
            self.tool = self._stack.enter_context(Tool(_TOOL, tools.crm(_no_mail)))
        with self._interrupts.held():
            self.authz = SpireAuthz(self.folder, self.home.socket)
            self._stack.callback(self.authz.stop)
        self.authz.wait_until_serving()
        with self._interrupts.held():
            sidecar = SpireSidecar(
                name=_TOOL,
                program=self.programs[_TOOL],
                service=self.tool.address,
                authz=self.authz.address,
                workload_api=self.home.socket,
                check_timeout_seconds=_CHECK_SECONDS,
            )
            self.envoy = SpireEnvoy(sidecar, self.folder)
            self._stack.callback(self.envoy.stop)
        self.envoy.wait_until_live()

    def _home_of(self, who: str) -> SpireDomain:
        return self.partner if who == AUDITOR else self.home

    def _wallet(self, who: str) -> Path:
        return self.folder / f"{who}-svid"

    def _remove_folder(self) -> None:
        if not self._kept:
            shutil.rmtree(self.folder)

    def _close(self) -> None:
        self._interrupts.ignore()
        self._stack.close()
        atexit.unregister(self._close)


def _no_mail(_headers: Headers, _body: bytes) -> Outcome:
    return NoAnswer("there is no mail tool here", 0)


def _shown(address: Address, protocol: str, credentials: Credentials) -> x509.Certificate:
    """What the server at the address shows, unverified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    context.load_cert_chain(credentials.certificate_file, credentials.private_key_file)
    with socket.create_connection(address, _SHOWN_SECONDS) as plain, context.wrap_socket(plain) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
