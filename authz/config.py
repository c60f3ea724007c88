"""Settings: one strict YAML file in, a frozen value out. Every unit stands in a name, every default stands here."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from authz.bundle_settings import BundleSettings
from authz.documents import Document, ExistingFile, ExistingFolder, FileToBe, load
from authz.forms import Address, HeaderName, RulePath, RuleUrl, SpiffeUri, TrustDomain

Seconds = Annotated[float, Field(ge=0, le=3600)]


class TlsFiles(Document):
    """Our own certificate from files; read anew when they change."""

    certificate_file: ExistingFile
    private_key_file: ExistingFile


class ServerSettings(Document):
    """How Envoy reaches us. Plain text must be asked for by name."""

    listen: Address
    transport: Literal["tls", "plaintext"]
    svid: TlsFiles | Literal["workload-api"] | None = None  # what our port shows, with transport tls
    lane: Literal["auto", "fast", "portable"] = "auto"  # what serves checks: grpcio's completion queue, or grpc.aio
    envoys: tuple[SpiffeUri, ...] = ()  # who may ask, with transport tls
    health_listen: Address | None = None  # grpc.health.v1 alone and in plain text, for probes that cannot do TLS
    drain_seconds: Seconds = 5.0  # NOT_SERVING, and still answering; longer than Envoy's health check interval
    stop_grace_seconds: Seconds = 5.0  # for calls in flight once draining is over
    check_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 0.15  # below Envoy's ext_authz timeout
    max_request_bytes: Annotated[int, Field(ge=65536, le=256 * 1024 * 1024)] = 16 * 1024 * 1024  # above Envoy's limit
    max_connection_age_seconds: Annotated[int, Field(ge=1)] = 600  # so that connections spread over new replicas

    @model_validator(mode="after")
    def _as_the_transport_needs(self) -> Self:
        if self.transport == "tls" and self.svid is None:
            raise PydanticCustomError("svid_missing", "transport is tls, so svid says what our port shows")
        if self.transport == "tls" and not self.envoys:
            raise PydanticCustomError("envoys_missing", "transport is tls, so envoys lists the SPIFFE IDs that may ask")
        if self.transport == "plaintext" and (self.svid is not None or self.envoys):
            raise PydanticCustomError("tls_unused", "transport is plaintext, so svid and envoys have no meaning")
        return self


class TrustDomainSettings(Document):
    """Where one trust domain's bundle comes from: a file (PEM, or a SPIFFE bundle document), or the Workload API."""

    bundle_file: ExistingFile | None = None
    bundle: Literal["workload-api"] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.bundle_file is None) == (self.bundle is None):
            raise PydanticCustomError("bundle", "give either bundle_file, or bundle: workload-api")
        return self


class WorkloadApiSettings(Document):
    """The SPIFFE Workload API. Without a socket, SPIFFE_ENDPOINT_SOCKET names it."""

    socket: str | None = None
    max_staleness_seconds: Annotated[float, Field(ge=1, le=7 * 86400)] = 3600.0  # how long bundles count without it


class JwtSettings(Document):
    """A JWT-SVID that callers send beside their certificate. It must name the same workload."""

    header: HeaderName
    audience: Annotated[tuple[str, ...], Field(min_length=1)]  # any of these must be in the token's aud
    leeway_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    required: bool = False
    forward: bool = False  # whether the service gets the header too: for tokens that are meant for both


class IdentitySettings(Document):
    """Who is believed about whom. Each trust domain has its own bundle; they are never merged."""

    mode: Literal["certificate", "attested", "xfcc", "sidecar"] = "certificate"
    trust_domains: Annotated[dict[TrustDomain, TrustDomainSettings], Field(min_length=1)]
    workload_api: WorkloadApiSettings = WorkloadApiSettings()
    jwt: JwtSettings | None = None


class TokenSettings(Document):
    """Txn-Tokens: signed by our own keys for our trust domain, in the header `txn-token`."""

    trust_domain: TrustDomain  # their audience
    keys_file: FileToBe  # a JWK set with private keys, readable for us alone; made where it does not exist
    max_lifetime_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    stand_alone: bool = False  # whether a token counts where the store has no record of its task


class TaskServiceSettings(Document):
    """Our own API, on a port of its own, over mTLS with `server.svid`."""

    listen: Address
    max_lifetime_seconds: Annotated[float, Field(gt=0, le=31 * 86400)] = 86400.0  # of a task
    max_depth: Annotated[int, Field(ge=0, le=7)] = 3  # delegations between a task and the one that was started
    max_approval_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0


class ValkeyTlsSettings(Document):
    """TLS to the servers, whose certificates must name them; and our own certificate, where they ask for one."""

    authorities_file: ExistingFile
    certificate_file: ExistingFile | None = None
    private_key_file: ExistingFile | None = None


class ValkeySettings(Document):
    """A Valkey server, or Redis 7.0 or later: many replicas of ours share it."""

    servers: Annotated[tuple[Address, ...], Field(min_length=1)]  # the primary, or Sentinels, or nodes of a cluster
    kind: Literal["single", "sentinel", "cluster"] = "single"
    sentinel_name: str | None = None  # of the primary, where the servers are Sentinels
    database: Annotated[int, Field(ge=0)] = 0
    user: str | None = None
    password_file: ExistingFile | None = None
    tls: ValkeyTlsSettings | None = None
    prefix: Annotated[str, Field(pattern=r"^\{[a-z0-9-]{1,32}\}$")] = "{authz}"  # in braces: one slot of a cluster
    timeout_seconds: Annotated[float, Field(gt=0, le=10)] = 1.0  # of one use of the server
    poll_seconds: Annotated[float, Field(gt=0, le=1)] = 0.01  # how often changes are asked for
    min_replicas: Annotated[int, Field(ge=0, le=9)] = 0  # that must know of a change before it is acknowledged

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if (self.kind == "sentinel") != (self.sentinel_name is not None):
            raise PydanticCustomError("sentinel", "sentinel_name goes with kind: sentinel, and only with it")
        if any(each.startswith("unix:") for each in self.servers):
            raise PydanticCustomError("servers", "a server is HOST:PORT")
        if self.kind == "single" and len(self.servers) != 1:
            raise PydanticCustomError("servers", "kind is single, so servers is the one primary")
        if self.kind == "cluster" and self.database:
            raise PydanticCustomError("database", "a cluster has the database 0 alone")
        return self


class TaskSettings(Document):
    """Where tasks are kept, how requests name them, and how old our knowledge of them may be."""

    header: HeaderName = "x-task-id"
    carriers: Annotated[tuple[Literal["handle", "token"], ...], Field(min_length=1)] = ("handle",)
    token: TokenSettings | None = None
    service: TaskServiceSettings | None = None
    keep_expired_seconds: Annotated[float, Field(ge=0)] = 86400.0  # for those who look; then they are deleted
    sqlite_file: FileToBe | None = None  # the embedded store, for the processes of one machine
    valkey: ValkeySettings | None = None  # or a shared one
    max_staleness_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    max_remembered: Annotated[int, Field(ge=64)] = 50_000

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        if (self.sqlite_file is None) == (self.valkey is None):
            raise PydanticCustomError("store", "give either sqlite_file or valkey: that is where tasks are kept")
        return self


class CatalogSettings(Document):
    """What requests mean."""

    file: ExistingFile


class DenialSettings(Document):
    """How denials look to clients that speak JSON-RPC, as those of MCP and A2A do."""

    jsonrpc_code: Annotated[int, Field(ge=-99999, le=99999)] = 4030  # MCP: outside -32768 to -32000; COAZ wants -32001
    jsonrpc_http_status: Literal["as-reason", "ok"] = "as-reason"  # ok: a 403 or 429 comes as 200, for older clients


class OpaSettings(Document):
    """The OPA that is asked of each hop, and how long it may take."""

    url: RuleUrl
    timeout_seconds: Annotated[float, Field(gt=0, le=10)] = 0.2
    socket: FileToBe | None = None  # a Unix socket, in place of the URL's host and port
    authorities_file: ExistingFile | None = None  # who signs OPA's certificate; else those that the system trusts
    certificate_file: ExistingFile | None = None  # what we show to OPA, with https
    private_key_file: ExistingFile | None = None
    token_file: ExistingFile | None = None  # its first line is the bearer token for OPA
    max_failures: Annotated[int, Field(ge=1)] = 5  # in a row; then OPA is left alone
    rest_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0  # for so long

    @model_validator(mode="after")
    def _tls_fits(self) -> Self:
        shown = (self.certificate_file, self.private_key_file)
        if (shown[0] is None) != (shown[1] is None):
            raise PydanticCustomError("tls", "certificate_file and private_key_file go together")
        if any((*shown, self.authorities_file)) and (self.socket or not self.url.startswith("https:")):
            raise PydanticCustomError("tls", "certificates have a meaning with https alone")
        return self


class RegoSettings(Document):
    """The rule that decides, where Rego is evaluated in process."""

    rule: RulePath = "data.authz.decision"


class PolicySettings(Document):
    """What is allowed. `groups` names sets of agents, as `AgentGroup` in policies.

    Where `digests_file` is named, policies count only as it lists them.
    """

    engine: Literal["cedar", "rego", "opa"] = "cedar"  # opa: it decides hops, and Cedar what the task service is asked
    rego: RegoSettings | None = None
    opa: OpaSettings | None = None
    input: Literal["authz", "opa-envoy-plugin"] = "authz"  # what Rego policies see: our facts, or the request with them
    directory: ExistingFolder | None = None
    bundle: BundleSettings | None = None  # in place of a directory
    digests_file: ExistingFile | None = None
    shadow_directory: ExistingFolder | None = None  # a candidate, asked about live hops beside the live set
    groups: dict[str, tuple[SpiffeUri, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.directory is None) == (self.bundle is None):
            raise PydanticCustomError("policies", "give either directory or bundle: that is where policies come from")
        if self.bundle is not None and self.digests_file is not None:
            raise PydanticCustomError("policies", "digests_file is about a directory; a bundle proves itself")
        if (self.engine == "opa") != (self.opa is not None):
            raise PydanticCustomError("engine", "policy.opa goes with policy.engine: opa, and only with it")
        if self.engine != "rego" and self.rego is not None:
            raise PydanticCustomError("engine", "policy.rego goes with policy.engine: rego, and only with it")
        if self.opa is not None and self.shadow_directory is not None:
            raise PydanticCustomError(
                "shadow", "a candidate is asked in process, so policy.engine must be cedar or rego"
            )
        if self.engine == "cedar" and self.input != "authz":
            raise PydanticCustomError(
                "input", "policy.input is for policies in Rego, so policy.engine must be rego or opa"
            )
        return self


class AuditSettings(Document):
    """Where the record of answers goes: a file, or `-` for standard output."""

    file: Annotated[Literal["-"] | FileToBe, Field(union_mode="left_to_right")]
    values: tuple[str, ...] = ()  # the arguments and path parameters whose values are written; of others, the names


class Settings(Document):
    """The whole configuration."""

    server: ServerSettings
    identity: IdentitySettings
    tasks: TaskSettings
    catalog: CatalogSettings
    policy: PolicySettings
    audit: AuditSettings
    denials: DenialSettings = DenialSettings()

    @model_validator(mode="after")
    def _tasks_fit(self) -> Self:
        tasks = self.tasks
        if "token" in tasks.carriers and tasks.token is None:
            raise PydanticCustomError("token", "tasks.carriers names token, so tasks.token says which are ours")
        if tasks.token is not None and tasks.token.trust_domain not in self.identity.trust_domains:
            raise PydanticCustomError("token", "tasks.token.trust_domain is none of identity.trust_domains")
        if tasks.service is not None and self.server.transport != "tls":
            raise PydanticCustomError("service", "tasks.service proves its callers, so server.transport must be tls")
        return self

    @model_validator(mode="after")
    def _policies_can_be_asked(self) -> Self:
        policy = self.policy
        if policy.engine == "rego" and policy.input != "authz" and self.tasks.service is not None:
            message = "what the task service asks is no request, so policy.input must be authz beside tasks.service"
            raise PydanticCustomError("input", message)
        return self

    @model_validator(mode="after")
    def _envoys_word_needs_a_proven_envoy(self) -> Self:
        if self.identity.mode != "certificate" and self.server.transport != "tls":
            message = "identity.mode {mode} takes an Envoy's word, so server.transport must be tls"
            raise PydanticCustomError("mode", message, {"mode": self.identity.mode})
        return self


def load_settings(file: Path) -> Settings:
    """The settings in `file`; raises Unusable with every problem, its line and its remedy."""
    return load(file, Settings)
