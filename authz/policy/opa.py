"""Query in, question document out; what OPA said of it in, Verdict out. The decision itself is OPA's.

A rule may read its own clock and data that change at any time, so no answer of OPA's serves more than the one check
that it was asked for: nothing is remembered.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TypeGuard

from authz.core.decision import Verdict
from authz.core.outcome import Consult, Lacks
from authz.core.query import Query
from authz.policy.opa_client import OpaClient
from authz.strict_json import NotAJsonObject, read_json_object

VERSION = "opa"
DECIDED = "opa:decision"
"""Stands for the policies behind an answer that names none."""

_NOTHING: frozenset[str] = frozenset()
_MEMBERS = {"allow", "policies", "step_up"}
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_NAME = 128
_MAX_NAMES = 64
_OK = 200


class OpaPolicy:
    """A Policy whose engine is OPA, and the Engine that brings its answers. For the event loop's thread."""

    def __init__(self, client: OpaClient, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._client = client
        self._groups_of: dict[str, list[str]] = {}
        for group in sorted(groups):
            for uri in groups[group]:
                self._groups_of.setdefault(uri, []).append(group)
        self._answer: tuple[bytes, Verdict] | None = None

    def decide(self, query: Query) -> Verdict:
        """What OPA said of it; raises Lacks where the answer is not at hand."""
        if fault := query.fault():
            return _failed(f"no policy can be asked: {fault}")
        question = question_of(query, self._groups_of.get(query.agent.uri, ()))
        if self._answer is None or self._answer[0] != question:
            raise Lacks(Consult(question))
        return self._answer[1]

    async def ask(self, question: bytes) -> None:
        """Have the answer at hand until `forget`; raises Unavailable where OPA gives none in time."""
        status, content = await self._client.post(question)
        self._answer = question, verdict_of(status, content)

    def forget(self) -> None:
        """Let the answer go: the next check is another one."""
        self._answer = None

    def close(self) -> None:
        """Ask no more."""
        self._client.close()


def question_of(query: Query, groups: Iterable[str]) -> bytes:
    """The document that OPA is sent, as docs/opa.md shows it. Equal questions are equal bytes."""
    operation, facts = query.operation, query.facts
    document = {
        "agent": {
            "id": query.agent.uri,
            "trust_domain": query.agent.trust_domain,
            "path": query.agent.path,
            "groups": sorted(groups),
        },
        "operation": {
            "action": operation.action,
            "classes": sorted(map(str, operation.classes)),
            "resource": operation.resource,
            "service": operation.service,
            "dataset": operation.dataset,
            "sensitivity": int(operation.sensitivity),
            "privileged": operation.is_privileged,
            "brings_untrusted_input": operation.brings_untrusted_input,
        },
        "task": {
            "purpose": query.purpose,
            "owner": query.owner,
            "ceiling": int(query.ceiling),
            "depth": query.depth,
            "age_seconds": query.age_seconds,
            "remaining_seconds": query.remaining_seconds,
        },
        "time": {"utc_hour": query.utc_hour, "utc_weekday": query.utc_weekday},
        "session": {
            "actions": sorted(facts.actions),
            "classes": sorted(map(str, facts.classes)),
            "datasets": sorted(facts.datasets),
            "high_water": int(facts.high_water),
            "untrusted_input": facts.untrusted_input,
        },
        "arguments": {
            name: sorted(value) if isinstance(value, frozenset) else value for name, value in query.arguments.items()
        },
        "parameters": dict(query.parameters),
    }
    return json.dumps({"input": document}, sort_keys=True, separators=(",", ":")).encode()


def verdict_of(status: int, content: bytes) -> Verdict:
    """What OPA's answer amounts to. Undefined permits nothing; what is not understood is an error."""
    if status != _OK:
        return _failed(f"OPA answered with status {status}: {content[:200].decode(errors='replace')}")
    try:
        answer = read_json_object(content)
    except NotAJsonObject as error:
        return _failed(f"OPA's answer is {error}")
    id = answer.get("decision_id")
    version = f"{VERSION} {id[:_MAX_NAME]}" if isinstance(id, str) and id else VERSION
    if "result" not in answer:
        return Verdict(_NOTHING, _NOTHING, (), version)
    return _of_result(answer["result"], version)


def _of_result(result: object, version: str) -> Verdict:
    if isinstance(result, bool):
        return Verdict(frozenset({DECIDED}) if result else _NOTHING, _NOTHING, (), version)
    if not isinstance(result, dict):
        return _failed("OPA's result is neither true nor false nor an object", version)
    return _of_object(result, version)


def _of_object(result: dict[str, object], version: str) -> Verdict:
    if unknown := sorted(result.keys() - _MEMBERS):
        return _failed(f"OPA's result has a member that is not known: {unknown[0]!r:.100}", version)
    allow, policies, kinds = result.get("allow"), result.get("policies", []), result.get("step_up", [])
    if not isinstance(allow, bool):
        return _failed("OPA's result says neither allow: true nor allow: false", version)
    if not _are_names(policies) or not _are_names(kinds) or not all(map(_KIND.fullmatch, kinds)):
        return _failed("OPA's result names policies or kinds of approval in no list of names", version)
    named = frozenset(policies) or frozenset({DECIDED})
    if not allow:
        return Verdict(_NOTHING, named if policies else _NOTHING, (), version)
    liftable = {f"{VERSION}:step_up:{kind}": kind for kind in kinds}
    return Verdict(named, frozenset(liftable), (), version, liftable=liftable)


def _are_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and len(names) <= _MAX_NAMES and all(map(_is_name, names))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable()


def _failed(error: str, version: str = VERSION) -> Verdict:
    return Verdict(_NOTHING, _NOTHING, (error,), version)
