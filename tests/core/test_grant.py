"""Grants: what they cover, and how people write them."""

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.hop import ActionClass, Operation, Sensitivity
from authz.core.task import EVERY_DATASET, Grant, NotAGrant, is_within

NOTHING: frozenset[Any] = frozenset()

words = st.builds("{}{}".format, st.sampled_from("az09"), st.text("az09_-", max_size=5))
datasets = st.lists(words, min_size=1, max_size=3).map(".".join)
actions = st.lists(words, min_size=2, max_size=3).map(".".join)
classes = st.frozensets(st.sampled_from(ActionClass))
grants = st.builds(
    Grant, classes, st.frozensets(actions, max_size=3), st.frozensets(datasets | st.just(EVERY_DATASET), min_size=1)
).filter(lambda grant: grant.classes or grant.actions)

few_classes = st.frozensets(st.sampled_from([ActionClass.READ, ActionClass.EGRESS]))
few_names = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(".".join)


def operation(
    found: Iterable[ActionClass], *, action: str = "crm.contact.read", dataset: str = "crm.contacts"
) -> Operation:
    """An operation of these classes."""
    return Operation(action, frozenset(found), "GET crm.example.org/", "crm", dataset, Sensitivity.PUBLIC)


@pytest.mark.parametrize(
    "grant",
    [
        Grant(NOTHING, NOTHING, NOTHING),
        Grant(NOTHING, NOTHING, frozenset({EVERY_DATASET})),
        Grant(frozenset(ActionClass), frozenset({"a.b"}), NOTHING),
    ],
    ids=["empty", "no action", "no dataset"],
)
def test_an_empty_grant_covers_nothing(grant: Grant) -> None:
    """A grant that names no action, or no dataset, is a grant of nothing, even for an operation without a class."""
    for count in range(3):
        for names in itertools.combinations(ActionClass, count):
            assert not grant.covers(operation(names, action="a.b"))


@given(
    grant=st.builds(Grant, few_classes, st.frozensets(few_names), st.frozensets(few_names | st.just(EVERY_DATASET))),
    wanted=few_classes,
    action=few_names,
    dataset=few_names,
)
def test_a_grant_covers_exactly_what_it_names(
    grant: Grant, wanted: frozenset[ActionClass], action: str, dataset: str
) -> None:
    """Covered is what is named: the action or all of its classes, and the dataset or one that it lies within."""
    parts = dataset.split(".")
    above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)} | {EVERY_DATASET}
    is_named = action in grant.actions or (wanted != NOTHING and all(each in grant.classes for each in wanted))
    expected = is_named and not above.isdisjoint(grant.datasets)
    assert expected == grant.covers(operation(wanted, action=action, dataset=dataset))


@pytest.mark.parametrize(
    ("expected", "dataset", "wider"),
    [
        (True, "crm", "crm"),
        (True, "crm.contacts", "crm"),
        (True, "crm.contacts.private", "crm"),
        (True, "crm", "*"),
        (False, "crmx", "crm"),
        (False, "crm-archive", "crm"),
        (False, "crm", "crm.contacts"),
        (False, "crm", "crmx"),
        (False, "crm", "cr"),
        (False, "crm", ""),
        (False, "crm", "crm."),
        (False, "*", "crm"),
        (False, "CRM", "crm"),
    ],
)
def test_a_dataset_lies_within_itself_and_what_is_above(expected: bool, dataset: str, wider: str) -> None:  # noqa: FBT001  a table's column
    """A sibling that begins with the same letters is not within."""
    assert expected is is_within(dataset, wider)


@given(dataset=datasets, more=words)
def test_a_sibling_prefix_never_matches(dataset: str, more: str) -> None:
    """Letters added to a name lead out of it; only a dot leads further in."""
    assert not is_within(dataset + more, dataset)
    assert is_within(f"{dataset}.{more}", dataset)


@given(grant=grants)
def test_a_grant_is_read_as_it_is_written(grant: Grant) -> None:
    """Every grant that can be written is read back equal."""
    assert grant == Grant.parse(str(grant))


@given(text=st.text() | st.text("read:crm.,*-_ "))
def test_any_other_text_is_not_a_grant(text: str) -> None:
    """Whatever the text, it is a grant that names something, or NotAGrant."""
    try:
        grant = Grant.parse(text)
    except NotAGrant:
        return
    assert grant.classes or grant.actions
    assert grant.datasets
    assert grant == Grant.parse(str(grant))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "read",
        "read:",
        ":crm",
        "read,:crm",
        ",read:crm",
        "read:crm,",
        "read, write:crm",
        " read:crm",
        "read:crm ",
        "read:crm\n",
        "raed:crm",
        "READ:crm",
        "read:CRM",
        "crm.Contact.read:crm",
        "read:-crm",
        "read:crm._contacts",
        "*:crm",
        "read:crm.*",
        "read:**",
        "read:crm..contacts",
        "read:.crm",
        "read:crm.",
        "read:crm:mail",
        "crm..read:crm",
        ".read:crm",
        "crm.read.:crm",
    ],
)
def test_a_typing_error_is_not_a_grant(text: str) -> None:
    """A text that is almost a grant is refused with what is wrong, not read as a grant of nothing or of more."""
    with pytest.raises(NotAGrant, match=r"\w"):
        Grant.parse(text)
