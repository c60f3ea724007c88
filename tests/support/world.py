"""A small world on disk: authority, catalog, policies, configuration, tasks; and the checks that Envoy would send.

Everything is read through the product's own wiring, so a test tells a story of what an operator would have.
"""

import asyncio
import contextlib
import datetime as dt
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import yaml

from authz.core.acts import Act, Conflict, End, Put
from authz.core.hop import Sensitivity
from authz.core.ids import uuid7
from authz.core.memory import Memory
from authz.core.outcome import Answer, Needs
from authz.core.record import Arrival, Record
from authz.core.spiffe import SpiffeId
from authz.core.task import Grant, Task, TaskState
from authz.demo.ca import Certificate, DevelopmentCa
from authz.pipeline import Pipeline
from authz.tasks.sqlite import SqliteTasks
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from authz.wiring.knowledge import Knowledge, make_pipeline, read

DOMAIN = "example.org"
SUPPORT = f"spiffe://{DOMAIN}/agent/support"
RESEARCH = f"spiffe://{DOMAIN}/agent/research"
AUTHZ = f"spiffe://{DOMAIN}/authz"
ENVOY = f"spiffe://{DOMAIN}/envoy"
HOST = "crm.example.org"
NOTHING: Mapping[str, object] = MappingProxyType({})
PATIENCE_SECONDS = 8.0  # for checks on machines that stall; below the patience of the Envoys in tests

CATALOG = """\
services:
  crm:
    hosts: [crm.example.org]
    routes:
      - {action: crm.contact.read, class: read, method: GET, path: "/contacts/{contact_id}",
         dataset: crm.contacts, sensitivity: internal}
      - {action: crm.contact.write, class: write, method: PUT, path: "/contacts/{contact_id}",
         dataset: crm.contacts, sensitivity: internal}
      - {action: crm.contact.delete, class: delete, method: DELETE, path: "/contacts/{contact_id}",
         dataset: crm.contacts, sensitivity: internal}
      - {action: crm.payroll.read, class: read, method: GET, path: "/payroll/{employee_id}",
         dataset: crm.payroll, sensitivity: restricted}
      - {action: crm.contact.mail, class: [read, egress], method: POST, path: /mail,
         dataset: crm.contacts, sensitivity: confidential}
      - {action: crm.export, class: [read, egress], method: POST, path: /exports,
         dataset: crm.contacts, sensitivity: confidential}
"""

POLICIES = """\
@id("support-works-on-contacts")
permit (principal == Agent::"spiffe://example.org/agent/support", action, resource in Dataset::"crm");

@id("research-reads")
permit (principal == Agent::"spiffe://example.org/agent/research", action in Action::"read", resource);

@id("no-egress-above-internal")
forbid (principal, action in Action::"egress", resource) when { context.sensitivity > 1 };
"""


@dataclass
class World:
    """One configuration folder and what lives in it."""

    folder: Path
    ca: DevelopmentCa = field(default_factory=lambda: DevelopmentCa(DOMAIN))
    settings: dict[str, object] = field(default_factory=dict)  # sections to replace in authz.yaml
    certificates: dict[str, Certificate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bundle.pem").write_text(self.ca.bundle_pem)
        (self.folder / "catalog.yaml").write_text(CATALOG)
        (self.folder / "policies").mkdir(exist_ok=True)
        (self.folder / "policies" / "crm.cedar").write_text(POLICIES)
        plain = {"listen": "127.0.0.1:0", "transport": "plaintext", "drain_seconds": 0, "stop_grace_seconds": 1}
        sections: dict[str, Any] = {
            "server": plain,
            "identity": {"trust_domains": {DOMAIN: {"bundle_file": "bundle.pem"}}},
            "tasks": {"sqlite_file": "tasks.db"},
            "catalog": {"file": "catalog.yaml"},
            "policy": {"directory": "policies"},
            "audit": {"file": "audit.jsonl"},
        }
        sections |= self.settings
        sections["server"] = {"check_timeout_seconds": PATIENCE_SECONDS, **sections["server"]}
        self.config_file.write_text(yaml.safe_dump(sections))

    @classmethod
    def guarded(
        cls,
        folder: Path,
        *,
        ca: DevelopmentCa | None = None,
        server: Mapping[str, object] = NOTHING,
        identity: Mapping[str, object] = NOTHING,
        **settings: object,
    ) -> "World":
        """A world whose port is TLS and where ENVOY alone may ask; `server` and `identity` change these sections."""
        ca = ca or DevelopmentCa(DOMAIN)
        ca.mint(AUTHZ, dns=("localhost",)).write(folder, "authz")
        svid = {"certificate_file": "authz.pem", "private_key_file": "authz.key"}
        guarded = {"listen": "127.0.0.1:0", "transport": "tls", "svid": svid, "envoys": [ENVOY]}
        timing = {"drain_seconds": 0, "stop_grace_seconds": 1}
        trusted = {"trust_domains": {DOMAIN: {"bundle_file": "bundle.pem"}}}
        sections = {"server": {**guarded, **timing, **server}, "identity": {**trusted, **identity}}
        return cls(folder, ca, {**sections, **settings})

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.folder / "authz.yaml"

    @property
    def database(self) -> Path:
        """The task store's file."""
        return self.folder / "tasks.db"

    def last_record(self) -> Any:  # noqa: ANN401  a line of JSON
        """The last line of the audit log."""
        return json.loads((self.folder / "audit.jsonl").read_text().splitlines()[-1])

    def svid(self, uri: str) -> Certificate:
        """The X509-SVID of a workload of this trust domain, minted once."""
        if uri not in self.certificates:
            self.certificates[uri] = self.ca.mint(uri)
        return self.certificates[uri]

    def store(self) -> SqliteTasks:
        """The task store, opened once more, as another process would."""
        return SqliteTasks(self.database, Memory(1000))

    def start_task(self, **changes: Any) -> Task:  # noqa: ANN401  as the task's fields
        """A task for the support agent to read and write contacts, or as changed; it is kept."""
        task = make_task(**changes)
        self.do(Put(task))
        return task

    def do(self, act: Act) -> None:
        """Do an act on the task store, as another process would."""

        async def done() -> None:
            store = self.store()
            try:
                await store.do(act)
            finally:
                await store.close()

        asyncio.run(done())

    def end_task(self, task: Task) -> None:
        """End it."""
        self.do(End(task.id))

    def check(self, task_id: str | None = None, *, agent: str = SUPPORT, **changes: Any) -> bytes:  # noqa: ANN401  as check_request
        """The check that Envoy sends for a hop of this agent on this task."""
        headers = {} if task_id is None else {"x-task-id": task_id}
        return check_request(self.svid(agent), agent, **{"headers": headers, **changes})

    def pipeline(self) -> "Running":
        """The real pipeline over this folder, without a server."""
        return self.pipeline_of(read(self.config_file))

    def pipeline_of(self, knowledge: Knowledge) -> "Running":
        """The same, over what was read already."""
        memory = Memory(1000)
        return Running(make_pipeline(knowledge, memory), SqliteTasks(self.database, memory))


@dataclass
class Running:
    """A pipeline and its store: what a server holds, driven by hand."""

    pipeline: Pipeline
    store: SqliteTasks

    def decide(self, message: bytes, *, at: float | None = None, asker: Certificate | None = None) -> Record:
        """The record of one check, fetched for and run again as the server does."""
        return self.answer(message, at=at, asker=asker).record

    def answer(self, message: bytes, *, at: float | None = None, asker: Certificate | None = None) -> Answer:
        """The answer to one check, asked by a TLS peer with that certificate, or in plain text."""
        arrival = replace(arrival_now(at), unverified_asker_certificate=asker.pem if asker else "")
        for _ in range(5):
            self.store.peek()
            outcome = self.pipeline.check(arrival, message)
            if isinstance(outcome, Needs):
                asyncio.run(self.store.fetch(outcome.of_tasks))
            elif outcome.provided is None:
                return outcome
            else:
                with contextlib.suppress(Conflict):
                    asyncio.run(self.store.do(outcome.provided))
                    return outcome
        raise AssertionError("the check was never decided")

    def close(self) -> None:
        """Close the store."""
        asyncio.run(self.store.close())


def arrival_now(at: float | None = None) -> Arrival:
    """A check that arrives now, or at another wall-clock time."""
    seconds = time.time() if at is None else at
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Arrival(seconds, boot_ns, uuid7(seconds, b"0123456789"))


def make_task(**changes: Any) -> Task:  # noqa: ANN401  as the task's fields
    """A live task of the support agent: read and write contacts, up to internal."""
    now = int(time.time())
    task = Task(
        id=uuid7(now, time.perf_counter_ns().to_bytes(10, "big")),
        owner="alice@example.org",
        purpose="answer ticket 4711",
        agents=frozenset({SpiffeId.parse(SUPPORT)}),
        grants=(Grant.parse("read,write:crm.contacts"),),
        ceiling=Sensitivity.INTERNAL,
        starts_unix_seconds=now - 60,
        expires_unix_seconds=now + 3600,
        state=TaskState.ACTIVE,
    )
    return replace(task, **changes)


def check_request(  # noqa: PLR0913  what a hop can vary in
    certificate: Certificate | None,
    principal: str,
    *,
    method: str = "GET",
    path: str = "/contacts/42",
    host: str = HOST,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The CheckRequest that Envoy makes of a hop, with folded headers."""
    check = CheckRequest()
    source = check.attributes.source
    source.address.socket_address.address, source.address.socket_address.port_value = "127.0.0.1", 40000
    source.principal = principal
    if certificate is not None:
        source.certificate = quote(certificate.pem, safe="")
    http = check.attributes.request.http
    check.attributes.request.time.FromDatetime(dt.datetime.now(dt.UTC))
    http.method, http.path, http.host, http.scheme, http.protocol = method, path, host, "https", "HTTP/1.1"
    pseudo = {":method": method, ":path": path, ":authority": host, ":scheme": "https"}
    http.headers.update({**pseudo, "user-agent": "agent/1", "accept": "*/*", **(headers or {})})
    return check.SerializeToString()
