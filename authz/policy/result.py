"""The value of a Rego rule in, Verdict out. Only what is understood whole can be an allow."""

import re
from typing import TypeGuard

from authz.core.decision import Verdict

DECIDED = "rego:decision"
"""Stands for the policies behind an answer that names none."""

_NOTHING: frozenset[str] = frozenset()
_MEMBERS = {"allow", "policies", "step_up"}
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_NAME = 128
_MAX_NAMES = 64


def undefined(version: str) -> Verdict:
    """The rule has no value: nothing is permitted."""
    return Verdict(_NOTHING, _NOTHING, (), version)


def failed(error: str, version: str) -> Verdict:
    """The rule could not be asked, or what it says is not understood."""
    return Verdict(_NOTHING, _NOTHING, (error,), version)


def verdict_of_result(result: object, version: str) -> Verdict:
    """What the value of the rule amounts to."""
    if isinstance(result, bool):
        return Verdict(frozenset({DECIDED}) if result else _NOTHING, _NOTHING, (), version)
    if not isinstance(result, dict):
        return failed("the result is neither true nor false nor an object", version)
    return _of_object(result, version)


def _of_object(result: dict[str, object], version: str) -> Verdict:
    if unknown := sorted(result.keys() - _MEMBERS):
        return failed(f"the result has a member that is not known: {unknown[0]!r:.100}", version)
    allow, policies, kinds = result.get("allow"), result.get("policies", []), result.get("step_up", [])
    if not isinstance(allow, bool):
        return failed("the result says neither allow: true nor allow: false", version)
    if not _are_names(policies) or not _are_names(kinds) or not all(map(_KIND.fullmatch, kinds)):
        return failed("the result names policies or kinds of approval in no list of names", version)
    named = frozenset(policies) or frozenset({DECIDED})
    if not allow:
        return Verdict(_NOTHING, named if policies else _NOTHING, (), version)
    liftable = {f"rego:step_up:{kind}": kind for kind in kinds}
    return Verdict(named, frozenset(liftable), (), version, liftable=liftable)


def _are_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and len(names) <= _MAX_NAMES and all(map(_is_name, names))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable()
