"""The demo's hops as data: who tries what on which task, and what must come of it.

A hop that is allowed must reach its tool exactly once, any other never; that is not written here, for it always holds.
"""

import json
from dataclasses import KW_ONLY, dataclass
from enum import Enum

from authz.core.reasons import Reason
from authz.demo.agents import Headers
from authz.demo.credentials import spiffe_id
from authz.demo.mesh import Door
from authz.demo.server import TaskOrder

TLS = "TLS"
"""An expected end before any HTTP: one side did not accept the other's certificate."""
NO_TASK = "-"
NO_SUCH_TASK = "no-such"
MALFORMED_TASK = "bad-id"
TASK_TWICE = "twice"

_ALLOWED = frozenset({200, 202, 204, 502})
_ABOVE = Reason.SENSITIVITY_ABOVE_CEILING
_NOT_OURS = Reason.TASK_OF_ANOTHER_AGENT
_NO_RIGHT = Reason.POLICY_PERMITS_NOTHING
_FORGED_XFCC = (("x-forwarded-client-cert", f"URI={spiffe_id('research')}"),)

TASKS = {
    "lookup": TaskOrder(agents=("research",), purpose="answer a customer", grants=("read:crm,hr",)),
    "errand": TaskOrder(agents=("research",), purpose="answer a customer", grants=("read:crm",)),
    "brief": TaskOrder(agents=("research",), purpose="a quick look", grants=("read:crm",), expires_in="1s"),
    "archive": TaskOrder(
        agents=("research",), purpose="archive contacts", grants=("read,egress,delete:crm",), ceiling="confidential"
    ),
    "erasure": TaskOrder(agents=("research",), purpose="erasure request", grants=("delete:crm.contacts",)),
    "training": TaskOrder(agents=("intern",), purpose="learn the ropes", grants=("read:crm",)),
    "payroll": TaskOrder(
        agents=("payroll",), purpose="monthly payroll", grants=("read:hr.payroll",), ceiling="restricted"
    ),
    "report": TaskOrder(
        agents=("reporter", "crm"), purpose="weekly report", grants=("execute:crm.reports", "egress:mail")
    ),
    "solo": TaskOrder(agents=("reporter",), purpose="weekly report", grants=("execute:crm.reports", "egress:mail")),
}


class Event(Enum):
    """What happens between two hops."""

    BRIEF_EXPIRES = "the task brief expires"
    ERRAND_ENDS = "authz task end: errand"
    OLD_AUTHORITY_LEAVES = "example.org's old authority leaves authz's trust bundle"
    AUTHZ_DIES = "the authz server is killed"


@dataclass(frozen=True, slots=True)
class PlannedHop:
    """One attempt, and what must come of it: an HTTP status that is not a denial by authz, TLS, or authz's reason."""

    who: str
    task: str
    expected: int | str | Reason
    _: KW_ONLY
    method: str = "GET"
    tool: str = "crm"
    path: str = "/contacts/7"
    headers: Headers = ()
    jwt_svid_of: str = ""  # whose token goes along
    body: bytes = b""
    note: str = ""  # what the request line does not show
    after: Event | None = None
    relayed: bool = False  # the call that the crm tool made while it served the hop before
    jsonrpc_id: int | None = None  # of the message; the answer, a denial too, must be one to it
    reaches_as: str = ""  # the path that the tool must have got, where Envoy changed it

    @property
    def status(self) -> int | str:
        """The HTTP status that must come, or TLS."""
        return self.expected.http_status if isinstance(self.expected, Reason) else self.expected

    @property
    def reason(self) -> str:
        """The reason id that must come with it."""
        return self.expected.id if isinstance(self.expected, Reason) else ""

    @property
    def reaches_tool(self) -> bool:
        """Whether the tool must have got it. The crm tool answers 502 when the mail tool's Envoy denied it."""
        return self.expected in _ALLOWED


@dataclass(frozen=True, slots=True)
class Scene:
    """Hops that belong together, and the door they knock at."""

    title: str
    hops: tuple[PlannedHop, ...]
    door: Door = Door.HARDENED


_SCOPE = Scene(
    "A task grants actions on datasets up to a ceiling; what it does not grant is denied",
    (
        PlannedHop("research", "lookup", 200),
        PlannedHop("research", "lookup", Reason.ACTION_NOT_GRANTED, method="PUT", body=b"{}"),
        PlannedHop("research", "lookup", Reason.ACTION_NOT_GRANTED, method="DELETE"),
        PlannedHop("research", "lookup", Reason.SENSITIVITY_ABOVE_CEILING, path="/contacts/7/notes"),
        PlannedHop("research", "lookup", Reason.ACTION_UNKNOWN, path="/admin"),
        PlannedHop("payroll", "payroll", 200, tool="hr", path="/payroll/7"),
    ),
)
_ERRAND = Scene(
    "Every hop names a live task of the caller's own",
    (
        PlannedHop("payroll", "lookup", Reason.TASK_OF_ANOTHER_AGENT),
        PlannedHop("research", NO_SUCH_TASK, Reason.TASK_UNKNOWN),
        PlannedHop("research", NO_TASK, Reason.TASK_MISSING),
        PlannedHop("research", TASK_TWICE, Reason.TASK_HEADER_REPEATED),
        PlannedHop("research", MALFORMED_TASK, Reason.TASK_ID_MALFORMED),
        PlannedHop("research", "brief", Reason.TASK_EXPIRED, after=Event.BRIEF_EXPIRES),
        PlannedHop("research", "errand", 200),
        PlannedHop("research", "errand", Reason.TASK_ENDED, after=Event.ERRAND_ENDS),
    ),
)
_POLICY = Scene(
    "Policies narrow what tasks grant",
    (
        PlannedHop("intern", "training", Reason.POLICY_PERMITS_NOTHING),
        PlannedHop("research", "archive", Reason.POLICY_FORBIDS, method="POST", path="/exports"),
        PlannedHop("research", "archive", Reason.POLICY_FORBIDS, method="DELETE"),
        PlannedHop("research", "erasure", 204, method="DELETE", path="/contacts/9"),
    ),
)
_CHAIN = Scene(
    "An agent calls a tool, and the tool another, on the same task and in one trace",
    (
        PlannedHop("reporter", "report", 200, method="POST", path="/reports"),
        PlannedHop("crm", "report", 202, method="POST", tool="mail", path="/messages", relayed=True),
        PlannedHop("reporter", "solo", 502, method="POST", path="/reports"),
        PlannedHop("crm", "solo", _NOT_OURS, method="POST", tool="mail", path="/messages", relayed=True),
        PlannedHop("reporter", "report", _NO_RIGHT, method="POST", tool="mail", path="/messages"),
    ),
)
_PATHS = Scene(
    "The path that is decided on is the path that the tool gets",
    (
        PlannedHop("research", "lookup", 200, tool="hr", path="/people/3"),
        PlannedHop("research", "lookup", 200, tool="hr", path="//people///3", reaches_as="/people/3"),
        PlannedHop("research", "lookup", _ABOVE, tool="hr", path="/people/../payroll/7"),
        PlannedHop("research", "lookup", _ABOVE, tool="hr", path="/people/%2e%2e/payroll/7"),
        PlannedHop("research", "lookup", _ABOVE, tool="hr", path="/people/..;/payroll/7"),
        PlannedHop("research", "lookup", _ABOVE, tool="hr", path="//payroll/7"),
        PlannedHop("research", "lookup", 400, tool="hr", path="/people/..%2fpayroll/7"),
        PlannedHop("research", "lookup", Reason.PATH_AMBIGUOUS, tool="hr", path="/payroll/7;x"),
    ),
)
_HARDENED = Scene(
    "Who calls is proven by the certificate; at the hardened door Envoy refuses most impostors",
    (
        PlannedHop("nobody", "lookup", TLS, note="no cert"),
        PlannedHop("stranger", "lookup", TLS, note="foreign"),
        PlannedHop("forger", "lookup", TLS, note="foreign CA"),
        PlannedHop("dns-name", "lookup", TLS, note="DNS SAN"),
        PlannedHop("ca-cert", "lookup", TLS, note="CA cert"),
        PlannedHop("expired", "lookup", TLS, note="expired"),
        PlannedHop("two-ids", "lookup", Reason.SVID_URI_SAN_COUNT, note="two URIs"),
    ),
)
_CARELESS = Scene(
    "A careless door (any CA listed, certificate optional) lets them in, and authz does not",
    (
        PlannedHop("research", "lookup", 200),
        PlannedHop("nobody", "lookup", Reason.IDENTITY_MISSING, note="no cert"),
        PlannedHop("nobody", "lookup", Reason.IDENTITY_MISSING, headers=_FORGED_XFCC, note="fake XFCC"),
        PlannedHop("nobody", "lookup", Reason.IDENTITY_MISSING, jwt_svid_of="research", note="stolen JWT"),
        PlannedHop("stranger", "lookup", Reason.TRUST_DOMAIN_UNKNOWN, note="foreign"),
        PlannedHop("forger", "lookup", Reason.SVID_UNTRUSTED, note="foreign CA"),
        PlannedHop("dns-name", "lookup", Reason.SVID_URI_SAN_COUNT, note="DNS SAN"),
        PlannedHop("two-ids", "lookup", Reason.SVID_URI_SAN_COUNT, note="two URIs"),
        PlannedHop("ca-cert", "lookup", Reason.SVID_IS_CA, note="CA cert"),
    ),
    Door.CARELESS,
)
_TOKENS = Scene(
    "A JWT-SVID may stand beside the certificate, and must name the same workload",
    (
        PlannedHop("research", "lookup", 200, jwt_svid_of="research", note="own JWT"),
        PlannedHop("research", "lookup", Reason.JWT_OF_ANOTHER_WORKLOAD, jwt_svid_of="payroll", note="wrong JWT"),
    ),
)
_ASKERS = Scene(
    "Only Envoys that the configuration lists may ask; the intern's own is not one of them",
    (PlannedHop("research", "lookup", Reason.ASKER_NOT_ALLOWED),),
    Door.UNLISTED,
)
_AUTHORITIES = Scene(
    "An authority that leaves the trust bundle takes its certificates along, though Envoy still believes it",
    (
        PlannedHop("veteran", "lookup", 200, note="old CA"),
        PlannedHop("veteran", "lookup", Reason.SVID_UNTRUSTED, note="old CA", after=Event.OLD_AUTHORITY_LEAVES),
        PlannedHop("research", "lookup", 200),
    ),
)
_MCP_ID = 7


def _tool_call(tool: str, expected: int | Reason) -> PlannedHop:
    """A call of the hr tool's MCP server."""
    params = {"name": tool, "arguments": {"person": "3"}}
    message = {"jsonrpc": "2.0", "id": _MCP_ID, "method": "tools/call", "params": params}
    return PlannedHop(
        "research",
        "lookup",
        expected,
        method="POST",
        tool="hr",
        path="/mcp",
        headers=(("content-type", "application/json"),),
        body=json.dumps(message).encode(),
        note=tool,
        jsonrpc_id=_MCP_ID,
    )


_MCP = Scene(
    "MCP: the message says what is attempted, and a denial is a JSON-RPC error that answers it",
    (
        _tool_call("look_up_person", 200),
        _tool_call("show_salary", Reason.SENSITIVITY_ABOVE_CEILING),
        _tool_call("fire_person", Reason.ACTION_UNKNOWN),
    ),
)
STORY = (_SCOPE, _ERRAND, _POLICY, _CHAIN, _PATHS, _HARDENED, _CARELESS, _TOKENS, _ASKERS, _AUTHORITIES, _MCP)
LAST_SCENE = Scene("No answer is a no", (PlannedHop("research", "lookup", 503, after=Event.AUTHZ_DIES),))
"""Nothing works after it."""
