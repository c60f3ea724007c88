"""Hop: what is attempted, in the catalog's words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Self

Argument = str | int | bool | frozenset[str]
"""A typed argument of a hop, as policies see it. Numbers are whole: money in its smallest unit."""


class ActionClass(Enum):
    """What an action does to the world."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    EXECUTE = "execute"
    EGRESS = "egress"
    FINANCIAL = "financial"
    ADMIN = "admin"
    DELEGATE = "delegate"

    def __str__(self) -> str:
        return str(self.value)


HARMFUL = frozenset(
    {ActionClass.DELETE, ActionClass.EXECUTE, ActionClass.EGRESS, ActionClass.FINANCIAL, ActionClass.ADMIN}
)
"""Classes whose hops must see the task store's present state, never a remembered one."""


class Sensitivity(IntEnum):
    """How far data may travel; ordered."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Self:
        """The one that `word` names, as it is written in files; raises KeyError."""
        return cls[word.upper()]


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the catalog: what requests of one shape do, and to which data."""

    action: str  # the catalog's name for it, such as `crm.contact.read`
    classes: frozenset[ActionClass]
    resource: str  # the entry itself, such as `GET crm.example.org/contacts/{contact_id}`
    service: str
    dataset: str  # dotted, from wide to narrow: `crm.contacts` lies within `crm`
    sensitivity: Sensitivity
    is_privileged: bool = False  # the dataset is a privileged record set: legal, payroll, credentials and their like
    brings_untrusted_input: bool = False  # what it returns was written by strangers: mail, web pages, tickets

    @property
    def is_harmful(self) -> bool:
        """Whether any of its classes is in HARMFUL."""
        return not HARMFUL.isdisjoint(self.classes)


@dataclass(frozen=True, slots=True)
class Hop:
    """One request, understood: the operation it is, the parameters its path names, and what it is given.

    `arguments` holds those that the catalog chose for policies, by the catalog's names. `arguments_digest` is the
    SHA-256, in hex, of the canonical JSON (RFC 8785) of all arguments; empty where the operation takes none.
    """

    operation: Operation
    parameters: Mapping[str, str]
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    arguments_digest: str = ""
