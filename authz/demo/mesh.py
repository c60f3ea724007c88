"""Mesh: a whole small mesh as a context. Entered, it runs: authz, a tool behind each of three Envoys, certificates.

Whatever happens inside, all that was started is ended, the last first, and the folder is removed unless kept.
"""

import atexit
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Self

from authz.demo import tools
from authz.demo.agents import Caller, Headers, Outcome, Remote
from authz.demo.bundle_document import bundle_document
from authz.demo.ca import DevelopmentCa
from authz.demo.children import Command
from authz.demo.credentials import AUTHZ_ID, FOREIGN_TRUST_DOMAIN, TOOLS, TRUST_DOMAIN, mint_all, spiffe_id, tool_host
from authz.demo.envoys import Envoy, Sidecar
from authz.demo.interrupts import Interrupts
from authz.demo.jwt_authority import JwtAuthority
from authz.demo.server import AuthzServer, TaskOrder, started_id
from authz.demo.tools import Respond, Tool

_COMMANDS_AT_ONCE = 2
_UNLISTED = "intern"
"""The agent that sets up an Envoy of its own before the crm tool; authz's configuration does not list it."""


class Door(Enum):
    """Which door to a tool is knocked at: a listener of its own Envoy, or the crm tool's unlisted Envoy."""

    HARDENED = "hardened"
    CARELESS = "careless"
    UNLISTED = "unlisted"


class Mesh:
    """The running mesh. SIGINT and SIGTERM interrupt what goes on inside it, as KeyboardInterrupt."""

    def __init__(self, orders: Mapping[str, TaskOrder]) -> None:
        """The tasks of `orders` are started with it, and are then in `task_ids` by the same names."""
        self._orders = orders
        self._stack = ExitStack()
        self._interrupts = Interrupts()
        self._kept = False
        self.folder = Path()
        self.tools: dict[str, Tool] = {}
        self.envoys: dict[str, Envoy] = {}
        self.task_ids: dict[str, str] = {}
        self.relayed: list[Outcome] = []  # the answers that the crm tool got when it called the mail tool

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

    def end_task(self, name: str) -> None:
        """End one of the tasks by the command line; raises Unavailable."""
        self._begin(partial(self.authz.end_task, self.task_ids[name])).output()

    def remove_old_authority(self) -> None:
        """Take the old authority out of authz's trust bundle; returns once it has read it, or raises Unavailable.

        The Envoys have read theirs at their start, and go on believing it.
        """
        self.authz.replace_bundle(self._document_file, bundle_document([self._ca], [self._jwt_authority]))

    def jwt_svid(self, who: str) -> str:
        """A JWT-SVID of an agent or a tool, to be shown to authz."""
        return self._jwt_authority.mint(spiffe_id(who), [AUTHZ_ID])

    def caller(self, who: str) -> Caller:
        """Someone of the mesh, or an impostor, by name."""
        return Caller(self.bundle_file, self._credentials[who])

    def remote(self, tool: str, door: Door = Door.HARDENED) -> Remote:
        """A tool as its callers reach it: through an Envoy."""
        if door is Door.UNLISTED:
            return Remote(tool_host(tool), self.envoys[_UNLISTED].door, spiffe_id(_UNLISTED))
        envoy = self.envoys[tool]
        address = envoy.door if door is Door.HARDENED else envoy.careless_door
        return Remote(tool_host(tool), address, spiffe_id(tool))

    @property
    def logs(self) -> list[Path]:
        """Where to look when something is not as expected."""
        return [self.authz.log_file, self.authz.audit_file, *(envoy.log_file for envoy in self.envoys.values())]

    def _start(self) -> None:
        with self._interrupts.held():
            self.folder = Path(tempfile.mkdtemp(prefix="authz-demo-"))
            self._stack.callback(self._remove_folder)
        self._write_certificates()
        for name, respond in self._responders().items():
            with self._interrupts.held():
                self.tools[name] = self._stack.enter_context(Tool(name, respond))
        with self._interrupts.held():
            self.authz = AuthzServer(self.folder)
            self._stack.callback(self.authz.stop)
        self._start_tasks()
        self.authz.wait_until_serving()
        self._start_envoys()

    def _start_tasks(self) -> None:
        """While the server starts, a few commands at once: both spend their time importing."""
        running: deque[tuple[str, Command]] = deque()
        for name, order in self._orders.items():
            if len(running) == _COMMANDS_AT_ONCE:
                self._note_started(*running.popleft())
            running.append((name, self._begin(partial(self.authz.start_task, order))))
        for started in running:
            self._note_started(*started)

    def _note_started(self, name: str, command: Command) -> None:
        self.task_ids[name] = started_id(command.output())

    def _begin(self, begin: Callable[[], Command]) -> Command:
        with self._interrupts.held():
            command = begin()
            self._stack.callback(command.stop)
            return command

    def _start_envoys(self) -> None:
        """All at once; and after authz, whose first health check they wait for."""
        for name in (*TOOLS, _UNLISTED):
            with self._interrupts.held():
                self.envoys[name] = Envoy(self._sidecar(name), self.folder)
                self._stack.callback(self.envoys[name].stop)
        for envoy in self.envoys.values():
            envoy.wait_until_live()

    def _write_certificates(self) -> None:
        old, foreign = DevelopmentCa(TRUST_DOMAIN), DevelopmentCa(FOREIGN_TRUST_DOMAIN)
        self._ca, self._jwt_authority = DevelopmentCa(TRUST_DOMAIN), JwtAuthority()
        self._credentials = mint_all(self.folder, self._ca, old, foreign)
        # The same bundle twice: PEM is what Envoy and curl read, and holds no JWT authorities.
        self.bundle_file = self._write("bundle.pem", self._ca.bundle_pem + old.bundle_pem)
        self._document_file = self._write("bundle.json", bundle_document([self._ca, old], [self._jwt_authority]))
        self._merged_file = self._write("merged-bundles.pem", self.bundle_file.read_text() + foreign.bundle_pem)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _responders(self) -> dict[str, Respond]:
        return {"crm": tools.crm(self._send_mail), "mail": tools.mail, "hr": tools.hr}

    def _send_mail(self, headers: Headers, body: bytes) -> Outcome:
        """What the crm tool does when it mails: it calls the mail tool's Envoy, in its own name."""
        outcome, _ = self.caller("crm").call_patiently(self.remote("mail"), "POST", "/messages", headers, body)
        self.relayed.append(outcome)
        return outcome

    def _sidecar(self, name: str) -> Sidecar:
        credentials = self._credentials[name]
        if credentials is None:
            raise ValueError(f"{name} has no certificate")
        return Sidecar(
            name=name,
            service=self.tools["crm" if name == _UNLISTED else name].address,
            authz=self.authz.address,
            certificate_file=credentials.certificate_file,
            private_key_file=credentials.private_key_file,
            bundle_file=self.bundle_file,
            careless_ca_file=self._merged_file,
        )

    def _remove_folder(self) -> None:
        if not self._kept:
            shutil.rmtree(self.folder)

    def _close(self) -> None:
        self._interrupts.ignore()
        self._stack.close()
        atexit.unregister(self._close)
