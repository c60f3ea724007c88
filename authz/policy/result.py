"""The value of a Rego rule in, Verdict out. Only what is understood whole can be an allow.

A result with `allowed` is one of a rule for opa-envoy-plugin, and one with `allow` is one for us.
"""

import re
from typing import TypeGuard

from authz.core.amendments import NO_AMENDMENTS, Amendments, NotAnAmendment
from authz.core.decision import Verdict
from authz.policy.plugin_result import ALLOWED, MEMBERS, amendments_of

DECIDED = "rego:decision"
"""Stands for the policies behind an answer that names none."""

_NOTHING: frozenset[str] = frozenset()
_ALLOW = "allow"
_MEMBERS = frozenset({"policies", "step_up"})
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_NAME = 128
_MAX_NAMES = 64


def undefined(version: str) -> Verdict:
    """The rule has no value: nothing is permitted."""
    return Verdict(_NOTHING, _NOTHING, (), version)


def failed(error: str, version: str) -> Verdict:
    """The rule could not be asked, or what it says is not understood."""
    return Verdict(_NOTHING, _NOTHING, (error,), version)


def verdict_of_result(result: object, version: str, guarded: frozenset[str]) -> Verdict:
    """What the value of the rule amounts to. No policy changes the headers that are `guarded`, in lower case."""
    if isinstance(result, bool):
        return Verdict(frozenset({DECIDED}) if result else _NOTHING, _NOTHING, (), version)
    if not isinstance(result, dict):
        return failed("the result is neither true nor false nor an object", version)
    is_for_the_plugin = ALLOWED in result
    word, members = (ALLOWED, _MEMBERS | MEMBERS) if is_for_the_plugin else (_ALLOW, _MEMBERS)
    if unknown := sorted(result.keys() - members - {word}):
        return failed(f"the result has a member that is not known: {unknown[0]!r:.100}", version)
    try:
        return _of_object(result, word, version, amendments_of(result, guarded) if is_for_the_plugin else NO_AMENDMENTS)
    except NotAnAmendment as error:
        return failed(f"the result cannot be followed: {error}", version)


def _of_object(result: dict[str, object], word: str, version: str, amendments: Amendments) -> Verdict:
    allow, policies, kinds = result.get(word), result.get("policies", []), result.get("step_up", [])
    if not isinstance(allow, bool):
        return failed(f"the result says neither {word}: true nor {word}: false", version)
    if not _are_names(policies) or not _are_names(kinds) or not all(map(_KIND.fullmatch, kinds)):
        return failed("the result names policies or kinds of approval in no list of names", version)
    named = frozenset(policies) or frozenset({DECIDED})
    if not allow:
        return Verdict(_NOTHING, named if policies else _NOTHING, (), version, amendments=amendments)
    liftable = {f"rego:step_up:{kind}": kind for kind in kinds}
    return Verdict(named, frozenset(liftable), (), version, liftable=liftable, amendments=amendments)


def _are_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and len(names) <= _MAX_NAMES and all(map(_is_name, names))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable()
