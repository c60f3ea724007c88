"""Query in, question document out; what OPA said of it in, Verdict out. The decision itself is OPA's.

A rule may read its own clock and data that change at any time, so no answer of OPA's serves more than the one check
that it was asked for: nothing is remembered.
"""

from authz.core.decision import Verdict
from authz.core.outcome import Consult, Lacks
from authz.core.query import Query
from authz.policy.opa_client import OpaClient
from authz.policy.question import Question
from authz.policy.result import failed, undefined, verdict_of_result
from authz.strict_json import NotAJsonObject, read_json_object

VERSION = "opa"
_MAX_ID = 128
_OK = 200


class OpaPolicy:
    """A Policy whose engine is OPA, and the Engine that brings its answers. For the event loop's thread."""

    def __init__(self, client: OpaClient, question: Question, guarded: frozenset[str]) -> None:
        """Policies do not change the headers that are `guarded`, in lower case."""
        self.client = client
        self._question = question
        self._guarded = guarded
        self._answer: tuple[bytes, Verdict] | None = None

    def decide(self, query: Query) -> Verdict:
        """What OPA said of it; raises Lacks where the answer is not at hand, and Refused where it cannot be asked."""
        if fault := query.fault():
            return failed(f"no policy can be asked: {fault}", VERSION)
        question = b'{"input":%b}' % self._question(query)
        if self._answer is None or self._answer[0] != question:
            raise Lacks(Consult(question))
        return self._answer[1]

    async def ask(self, question: bytes) -> None:
        """Have the answer at hand until `forget`; raises Unavailable where OPA gives none in time."""
        status, content = await self.client.post(question)
        self._answer = question, verdict_of(status, content, self._guarded)

    def forget(self) -> None:
        """Let the answer go: the next check is another one."""
        self._answer = None

    def close(self) -> None:
        """Ask no more."""
        self.client.close()


def verdict_of(status: int, content: bytes, guarded: frozenset[str]) -> Verdict:
    """What OPA's answer amounts to. Undefined permits nothing; what is not understood is an error."""
    if status != _OK:
        return failed(f"OPA answered with status {status}: {content[:200].decode(errors='replace')}", VERSION)
    try:
        answer = read_json_object(content)
    except NotAJsonObject as error:
        return failed(f"OPA's answer is {error}", VERSION)
    id = answer.get("decision_id")
    version = f"{VERSION} {id[:_MAX_ID]}" if isinstance(id, str) and id else VERSION
    return verdict_of_result(answer["result"], version, guarded) if "result" in answer else undefined(version)
