"""The schema: what policies can speak of."""

import json
from dataclasses import replace

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.core.hop import ActionClass
from authz.core.task import is_within
from authz.policy.fields import Fields
from authz.policy.schema import Vocabulary, quoted, schema_text
from tests.policy import examples
from tests.policy.random_policies import policy_texts


def uids(entities: cedarpy.Entities) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """The entities, each with all that are above it."""
    return {
        (each["uid"]["type"], each["uid"]["id"]): {(above["type"], above["id"]) for above in each["parents"]}
        for each in json.loads(str(entities))
    }


def test_the_schema_has_the_eight_classes() -> None:
    """The action classes of the schema are those of the product."""
    actions = {id for type, id in uids(Vocabulary.of((), {}).entities()) if type == "Action"}
    assert {str(each) for each in ActionClass} == actions


def test_the_entities_are_those_of_the_catalog() -> None:
    """Each tool lies in its dataset and service, each dataset in the wider one, each action in its classes."""
    found = uids(Vocabulary.of([examples.SEND_CONTACTS, examples.SEND_MAIL], examples.GROUPS).entities())
    classes: dict[tuple[str, str], set[tuple[str, str]]] = {("Action", str(each)): set() for each in ActionClass}
    expected = classes | {
        ("Action", "mail.send"): {("Action", "egress"), ("Action", "write")},
        ("Action", "mail.export"): {("Action", "egress")},
        ("Tool", "POST mail.example.org/messages"): {
            ("Dataset", "mail"),
            ("Dataset", "mail.outbox"),
            ("Service", "mail"),
        },
        ("Tool", "POST mail.example.org/exports"): {
            ("Dataset", "crm"),
            ("Dataset", "crm.contacts"),
            ("Dataset", "crm.contacts.export"),
            ("Service", "mail"),
        },
        ("Dataset", "mail"): set(),
        ("Dataset", "mail.outbox"): {("Dataset", "mail")},
        ("Dataset", "crm"): set(),
        ("Dataset", "crm.contacts"): {("Dataset", "crm")},
        ("Dataset", "crm.contacts.export"): {("Dataset", "crm"), ("Dataset", "crm.contacts")},
        ("Service", "mail"): set(),
        ("AgentGroup", "front-office"): set(),
        ("Agent", str(examples.SUPPORT)): {("AgentGroup", "front-office")},
    }
    assert expected == found


def test_operations_may_share_an_action_or_a_resource() -> None:
    """Two routes of one action, and two actions on one resource, are one entity each."""
    by_name = replace(examples.GET_CONTACT, resource="GET crm.example.org/contacts")
    delete = replace(examples.GET_CONTACT, action="crm.contact.delete", classes=frozenset({ActionClass.DELETE}))
    found = uids(Vocabulary.of([examples.GET_CONTACT, by_name, delete], {}).entities())
    assert len([type for type, _ in found if type == "Tool"]) == 2
    assert {("Action", "read")} == found["Action", "crm.contact.get"]


def test_an_agent_may_be_in_several_groups() -> None:
    """Groups overlap as operators write them."""
    groups = {"a": (str(examples.SUPPORT), str(examples.BILLING)), "b": (str(examples.SUPPORT),)}
    found = uids(Vocabulary.of((), groups).entities())
    assert {("AgentGroup", "a"), ("AgentGroup", "b")} == found["Agent", str(examples.SUPPORT)]
    assert {("AgentGroup", "a")} == found["Agent", str(examples.BILLING)]


NAMES = st.text(st.characters(codec="utf-8"), max_size=20)


@given(action=NAMES.filter(lambda name: name not in set(map(str, ActionClass))), resource=NAMES, dataset=NAMES)
@settings(deadline=None)
def test_any_name_means_itself(action: str, resource: str, dataset: str) -> None:
    """Whatever the catalog's names hold, quoted they are the same action, tool and dataset to Cedar."""
    operation = replace(examples.GET_CONTACT, action=action, resource=resource, dataset=dataset)
    entities = Vocabulary.of([operation], {}).entities()
    policy = (
        f"permit (principal, action == Action::{quoted(action)}, resource == Tool::{quoted(resource)})"
        f' when {{ resource in Dataset::{quoted(dataset)} && action in Action::"read" }};'
    )
    schema = schema_text({action: operation.classes}, Fields.of({}, ()))
    assert cedarpy.validate_policies(policy, schema).validation_passed
    request = {
        "principal": {"type": "Agent", "id": "anyone"},
        "action": {"type": "Action", "id": action},
        "resource": {"type": "Tool", "id": resource},
        "context": {},
    }
    assert cedarpy.is_authorized(request, policy, entities).allowed


DOTTED = st.text("ab.", max_size=6)


@given(dataset=DOTTED, wider=DOTTED)
@settings(deadline=None)
def test_datasets_lie_in_one_another_as_grants_say(dataset: str, wider: str) -> None:
    """`resource in Dataset::"x"` holds exactly where a task's grant on `x` covers the dataset."""
    vocabulary = Vocabulary.of([replace(examples.GET_CONTACT, dataset=dataset)], {})
    policy = f"permit (principal, action, resource in Dataset::{quoted(wider)});"
    request = {
        "principal": {"type": "Agent", "id": "anyone"},
        "action": {"type": "Action", "id": examples.GET_CONTACT.action},
        "resource": {"type": "Tool", "id": examples.GET_CONTACT.resource},
        "context": {},
    }
    assert is_within(dataset, wider) == cedarpy.is_authorized(request, policy, vocabulary.entities()).allowed
    assert is_within(dataset, wider) == (wider in vocabulary.names()["Dataset"])


ILL_TYPED = st.sampled_from(
    [
        "",
        'permit (principal, action, resource) when { action == Action::"mail.send" && context.nothing };',
        'permit (principal, action in Action::"egress", resource) when { action in Action::"write" && resource.x };',
        'permit (principal, action, resource) when { action == Action::"hr.salary.get" || context.utc_hour };',
        'permit (principal, action == Action::"nothing", resource);',
        'permit (principal is Tool, action in Action::"read", resource);',
        'permit (principal, action, resource) when { if action in Action::"egress" then true else 1 };',
    ]
)


@given(policy_texts, ILL_TYPED, st.sets(st.sampled_from(examples.OPERATIONS)))
@settings(deadline=None, max_examples=100)
def test_validation_needs_one_action_of_each_set_of_classes(text: str, ill: str, others: set[object]) -> None:
    """With the actions that are named and one of each kind beside them, Cedar finds what it finds with them all."""
    many = [
        replace(each, action=f"{each.action}.{number}")
        for each in examples.OPERATIONS
        if each not in others
        for number in range(3)
    ]
    operations = [*examples.OPERATIONS, *many]
    everything = {each.action: each.classes for each in operations}
    everything |= {f"first of {each}": frozenset({each}) for each in ActionClass}
    named = frozenset(each.action for each in operations if quoted(each.action) in text + ill)
    vocabulary = Vocabulary.of(operations, {}, examples.ARGUMENTS)
    few, all = vocabulary.schema_for(named), schema_text(everything, vocabulary.fields())
    assert _found(text + ill, cedarpy.Schema.from_str(all)) == _found(text + ill, few)


def _found(text: str, schema: cedarpy.Schema) -> set[str]:
    return {error.policy_id for error in cedarpy.validate_policies(text, schema).errors}
