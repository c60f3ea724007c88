"""One parsed policy in, what is wrong with it out: what Cedar accepts and we do not.

All of it would load, and then silently neither permit nor forbid, or could not be named in a decision.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from cedarpy import pst

from authz.core.hop import ActionClass
from authz.core.spiffe import NotASpiffeId, SpiffeId

_HOLDERS = frozenset({"AgentGroup", "Dataset", "Service"})
_CLASSES = frozenset(map(str, ActionClass))
_APPROVAL = re.compile(r"[a-z][a-z0-9_-]{0,31}")

Fault = tuple[str, str]
"""What is wrong, and the remedy."""


def faults(policy: pst.Template, names: Mapping[str, frozenset[str]]) -> Iterator[Fault]:
    """Every fault; `names` are the ids that exist, by entity type."""
    if _has_slot(policy):
        what = "a template: nothing links it, so it would neither permit nor forbid"
        yield what, "Write out the principal and the resource."
    id = policy.annotations.get("id", "")
    if not id.strip() or not id.isprintable():
        what = f"the @id {id!r} is not a name" if id else "the policy has no @id"
        yield what, 'Write @id("a-name-of-its-own") before it; decisions and the audit record name policies by it.'
    if "step_up" in policy.annotations:
        yield from _of_step_up(policy)
    for uid in sorted(pst.entity_uids(policy), key=str):
        yield from _unknown(uid, names)
    for uid in sorted(set(_compared(policy)), key=str):
        if str(uid.type) in _HOLDERS or (str(uid.type) == "Action" and uid.id in _CLASSES):
            yield f"nothing is equal to {uid}, it only holds others", f"Write `in {uid}`."


def _has_slot(policy: pst.Template) -> bool:
    return any(isinstance(getattr(scope, "entity", None), pst.Slot) for scope in (policy.principal, policy.resource))


def _of_step_up(policy: pst.Template) -> Iterator[Fault]:
    kind = policy.annotations["step_up"]
    if policy.effect == "permit":
        yield "@step_up on a permit: an approval lifts a forbid", "Write it before the forbid that it is to lift."
    if not _APPROVAL.fullmatch(kind):
        what = f"@step_up names no kind of approval: {kind!r}"
        yield what, 'Write @step_up("owner"): lower-case letters, digits, dashes and underscores.'


def _unknown(uid: pst.EntityUid, names: Mapping[str, frozenset[str]]) -> Iterator[Fault]:
    """The fault of naming what does not exist, most likely a slip: a forbid about it would never apply."""
    type = str(uid.type)
    if type == "Agent":
        try:
            SpiffeId.parse(uid.id)
        except NotASpiffeId as error:
            yield f"{uid} is no agent: {error}", 'Write Agent::"spiffe://TRUST_DOMAIN/PATH".'
    elif type in names and uid.id not in names[type]:
        close = difflib.get_close_matches(uid.id, sorted(names[type]), n=1)
        origin = "configuration" if type == "AgentGroup" else "catalog"
        yield (
            f"there is no {uid} in the {origin}",
            f"Did you mean {close[0]!r}?" if close else f"Add it to the {origin}.",
        )


def _compared(node: object) -> Iterator[pst.EntityUid]:
    """The entities that stand as operands, alone or in a set, of anything but `in`."""
    if isinstance(node, pst.BinaryOp) and node.op != "in":
        for side in (node.left, node.right):
            if isinstance(side, pst.EntityLit | pst.Set):
                yield from pst.entity_uids(side)
    children: tuple[object, ...] = ()
    if isinstance(node, tuple):
        children = node
    elif isinstance(node, pst.FrozenMap):
        children = tuple(node.values())
    elif is_dataclass(node):
        children = tuple(getattr(node, each.name) for each in fields(node))
    for child in children:
        yield from _compared(child)
