"""A policy's scope in, the keys under which it is indexed out; an entity in, the keys that match it out.

Scope operators cannot fail, and Cedar looks at nothing else of a policy whose scope does not match. So the policies
found under an entity's keys are exactly those that can be satisfied or fail.
"""

from collections.abc import Iterator
from itertools import product

from cedarpy import pst

from authz.policy.observations import Uid, uid_of

ScopeKey = tuple[str, ...]
"""One constraint of one position: any, == E, in E, is T, is T in E."""
Scope = tuple[ScopeKey, ScopeKey, ScopeKey]
"""Of principal, action and resource."""

_ANY: ScopeKey = ("any",)


def scopes_of(policy: pst.Template) -> list[Scope]:
    """All scopes under which a policy stands: `action in [A, B]` is two. `action in []` is none: it never applies."""
    return list(product(_keys(policy.principal), _keys(policy.action), _keys(policy.resource)))


def matching(uid: Uid, above: frozenset[Uid]) -> Iterator[ScopeKey]:
    """The keys that match an entity; `above` holds itself too."""
    yield _ANY
    yield ("==", *uid)
    yield ("is", uid[0])
    for each in above:
        yield ("in", *each)
        yield ("is in", uid[0], *each)


def _keys(constraint: pst.PrincipalOrResourceConstraint | pst.ActionConstraint) -> list[ScopeKey]:
    match constraint:
        case pst.ScopeAny():
            return [_ANY]
        case pst.ScopeEq(pst.EntityUid() as uid) | pst.ActionEq(uid):
            return [("==", *uid_of(uid))]
        case pst.ScopeIn(pst.EntityUid() as uid):
            return [("in", *uid_of(uid))]
        case pst.ActionIn(uids):
            return [("in", *uid_of(uid)) for uid in dict.fromkeys(uids)]
        case pst.ScopeIs(kind):
            return [("is", str(kind))]
        case pst.ScopeIsIn(kind, pst.EntityUid() as uid):
            return [("is in", str(kind), *uid_of(uid))]
        case _:
            raise ValueError(f"a scope of an unknown kind: {constraint!r}")
