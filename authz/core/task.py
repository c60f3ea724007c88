"""Task: the errand a hop belongs to, and the rules that hold for every hop whatever the policies say."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from authz.core.approval import AccessRequest, Approval
from authz.core.errors import Refused
from authz.core.facts import NO_FACTS, Facts
from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.core.identity import Identity
from authz.core.reasons import Reason
from authz.core.spiffe import SpiffeId

EVERY_DATASET = "*"
_NOTHING = frozenset[str]()

MAX_DEPTH = 7
"""How many delegations may lie between a task and the one that was started; what ids leave room for."""

_TASK_ID = re.compile(rf"(?=.{{8,128}}\Z)[0-9a-z][0-9a-z-]*(\.[0-9a-z-]+){{0,{MAX_DEPTH}}}")
_CLASSES = {str(each): each for each in ActionClass}
_WORD = "[a-z0-9][a-z0-9_-]*"  # of which catalogs make their names too
_ACTION = re.compile(rf"{_WORD}(\.{_WORD})+")
_DATASET = re.compile(rf"\*|{_WORD}(\.{_WORD})*")


class NotAGrant(ValueError):
    """The text is not a grant; the message says what a grant looks like."""


def is_within(dataset: str, wider: str) -> bool:
    """Whether `dataset` is `wider` or lies below it (`crm.contacts` below `crm`); `*` is above everything."""
    return wider in (EVERY_DATASET, dataset) or dataset.startswith(wider + ".")


def _is_class_within(classes: frozenset[ActionClass] | None, grant: "Grant") -> bool:
    return bool(classes) and classes is not None and classes <= grant.classes


class TaskState(IntEnum):
    """Ordered so that merging two reports of one task takes the larger."""

    ACTIVE = 0
    ENDED = 1

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Grant:
    """Something the task may do: these action classes or these named actions, on these datasets. Empty is nothing."""

    classes: frozenset[ActionClass]
    actions: frozenset[str]
    datasets: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """A grant from its short form `WHAT[,WHAT...]:DATASET[,DATASET...]`, such as `read,write:crm.contacts`.

        WHAT is an action class, or an action's name, which has a dot; DATASET is a dotted name, or `*` for all.
        Raises NotAGrant.
        """
        whats, colon, datasets = text.partition(":")
        if not colon:
            raise NotAGrant(f"{text!r} is not a grant: write WHAT:DATASET, for example read:crm.contacts")
        names, places = whats.split(","), datasets.split(",")
        for name in names:
            if name not in _CLASSES and not _ACTION.fullmatch(name):
                known = ", ".join(_CLASSES)
                raise NotAGrant(f"{name!r} is neither an action such as crm.contact.read nor a class ({known})")
        for place in places:
            if not _DATASET.fullmatch(place):
                raise NotAGrant(f"{place!r} is not a dataset: write a name such as crm.contacts, or * for every one")
        return cls(
            frozenset(_CLASSES[name] for name in names if name in _CLASSES),
            frozenset(name for name in names if name not in _CLASSES),
            frozenset(places),
        )

    def covers(self, operation: Operation) -> bool:
        """Whether the grant names the operation, by its action or by all of its classes, and its dataset."""
        named = operation.action in self.actions or (bool(operation.classes) and operation.classes <= self.classes)
        dataset = operation.dataset
        # As it stands, for the usual case: whoever asks does so at every hop.
        return named and (dataset in self.datasets or any(is_within(dataset, wider) for wider in self.datasets))

    def is_within(self, wider: "Grant", classes_of: Mapping[str, frozenset[ActionClass]]) -> bool:
        """Whether `wider` covers all that this grant does, in a catalog whose actions have these classes."""
        if not all(any(is_within(place, above) for above in wider.datasets) for place in self.datasets):
            return False
        named = all(name in wider.actions or _is_class_within(classes_of.get(name), wider) for name in self.actions)
        return named and self.classes <= wider.classes

    def __str__(self) -> str:
        whats = sorted(map(str, self.classes)) + sorted(self.actions)
        return f"{','.join(whats)}:{','.join(sorted(self.datasets))}"


@dataclass(frozen=True, slots=True)
class Task:
    """A bounded errand. What it does not grant is denied; policies can only narrow it further."""

    id: str
    owner: str  # on whose behalf
    purpose: str
    agents: frozenset[SpiffeId]
    grants: tuple[Grant, ...]
    ceiling: Sensitivity
    starts_unix_seconds: float
    expires_unix_seconds: float
    state: TaskState
    is_suspended: bool = False
    started_by: str = ""  # the SPIFFE ID of who started or delegated it, or another name for a local operator
    transaction: str = ""  # the `txn` of its tokens; no two tasks share one
    idle_seconds: float | None = None  # how long the session may rest; counts on the task that was started
    budget_hops: int | None = None  # how many hops may be allowed to it and to what it delegates
    spent_hops: int = 0
    last_hop_key: str = ""  # of the hop that spent last
    facts: Facts = NO_FACTS  # of the session; kept on the task that was started
    active_unix_seconds: float = 0.0  # the session's last activity; kept on the task that was started
    asked: frozenset[str] = _NOTHING  # digests of its access requests
    rejected: frozenset[str] = _NOTHING  # digests of those that were said no to
    approvals: tuple[Approval, ...] = ()

    @property
    def parent_id(self) -> str:
        """The task that delegated it, which its id begins with; empty where it was started."""
        return self.id.rpartition(".")[0]

    @property
    def depth(self) -> int:
        """How many delegations lie between it and the task that was started."""
        return self.id.count(".")

    def must_name(self, identity: Identity) -> None:
        """The caller is one of the task's agents; raises Refused."""
        if identity.spiffe_id not in self.agents:
            raise Refused(Reason.TASK_OF_ANOTHER_AGENT, f"{self.id} names {', '.join(sorted(map(str, self.agents)))}")

    def must_be_live(self, unix_seconds: float) -> None:
        """The task has begun, has not expired and was not ended; raises Refused."""
        if self.state is not TaskState.ACTIVE:
            raise Refused(Reason.TASK_ENDED, f"{self.id} is {self.state}")
        if self.is_suspended:
            raise Refused(Reason.TASK_SUSPENDED, self.id)
        if unix_seconds < self.starts_unix_seconds:
            raise Refused(
                Reason.TASK_NOT_STARTED, f"{self.id} starts {self.starts_unix_seconds - unix_seconds:.0f} s on"
            )
        if unix_seconds >= self.expires_unix_seconds:
            raise Refused(
                Reason.TASK_EXPIRED, f"{self.id} expired {unix_seconds - self.expires_unix_seconds:.0f} s ago"
            )

    def must_afford(self, hop_key: str) -> None:
        """The budget, if there is one, is not used up by other hops; raises Refused."""
        if self.budget_hops is not None and self.spent_hops >= self.budget_hops and self.last_hop_key != hop_key:
            raise Refused(Reason.BUDGET_EXHAUSTED, f"{self.id} spent its {self.budget_hops} hops")

    def must_be_within(self, parent: Self, classes_of: Mapping[str, frozenset[ActionClass]]) -> None:
        """It is no wider than the task that delegates it; raises Refused with what is."""
        for grant in self.grants:
            if not any(grant.is_within(wider, classes_of) for wider in parent.grants):
                raise Refused(Reason.DELEGATION_WIDENS, f"{grant} is in no single grant of {parent.id}")
        if self.ceiling > parent.ceiling:
            raise Refused(Reason.DELEGATION_WIDENS, f"ceiling {self.ceiling}, above {parent.ceiling}")
        if self.starts_unix_seconds < parent.starts_unix_seconds:
            raise Refused(Reason.DELEGATION_WIDENS, "it starts before the task that delegates it")
        if self.expires_unix_seconds > parent.expires_unix_seconds:
            raise Refused(Reason.DELEGATION_WIDENS, "it expires after the task that delegates it")
        if self.budget_hops is not None and parent.budget_hops is not None and self.budget_hops > parent.budget_hops:
            raise Refused(Reason.DELEGATION_WIDENS, f"a budget of {self.budget_hops} hops, above {parent.budget_hops}")

    def must_cover(self, operation: Operation) -> None:
        """A grant covers the operation and its data are not above the ceiling; raises Refused."""
        if not any(grant.covers(operation) for grant in self.grants):
            granted = "; ".join(map(str, self.grants)) or "nothing"
            raise Refused(Reason.ACTION_NOT_GRANTED, f"{operation.action} on {operation.dataset}; granted: {granted}")
        if operation.sensitivity > self.ceiling:
            raise Refused(Reason.SENSITIVITY_ABOVE_CEILING, f"{operation.sensitivity} data, ceiling {self.ceiling}")

    def approvals_for(self, request: AccessRequest, hop_key: str, unix_seconds: float) -> tuple[Approval, ...]:
        """An approval of each kind that is asked for; raises Refused where the request was said no to.

        Empty where a kind is lacking: some of several approvals are none.
        """
        digest = request.digest
        if digest in self.rejected:
            raise Refused(Reason.APPROVAL_DENIED, digest)
        by_kind = {each.kind: each for each in self.approvals if each.helps(digest, hop_key, unix_seconds)}
        return tuple(by_kind[kind] for kind in request.kinds) if request.kinds <= by_kind.keys() else ()


def parse_task_id(values: Iterable[str]) -> str:
    """The task id that a header's values spell, only a look-up key; raises Refused unless there is exactly one.

    Envoy folds a repeated header into one value with commas and writes bytes that are not UTF-8 as `!`; neither
    occurs in an id, so both are refused whether or not raw headers are sent.
    """
    match tuple(values):
        case ():
            raise Refused(Reason.TASK_MISSING)
        case (value,) if _TASK_ID.fullmatch(value):
            return value
        case (value,) if "," not in value:
            # A client may have written a secret in the wrong place, and the detail is kept: only its size is told.
            raise Refused(Reason.TASK_ID_MALFORMED, f"{len(value)} characters")
        case values:
            count = sum(value.count(",") + 1 for value in values)
            raise Refused(Reason.TASK_HEADER_REPEATED, f"{count} values")
