"""What a session is known to have done."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from authz.core.facts import NO_FACTS, Facts
from authz.core.hop import ActionClass, Operation, Sensitivity

NAMES = st.frozensets(st.sampled_from(["crm.read", "mail.send", "web.fetch"]))
FACTS = st.builds(
    Facts, NAMES, st.frozensets(st.sampled_from(ActionClass)), NAMES, st.sampled_from(Sensitivity), st.booleans()
)


@given(FACTS, FACTS, FACTS)
def test_facts_may_be_joined_in_any_order_and_twice(one: Facts, two: Facts, three: Facts) -> None:
    """Replicas that hear of the same hops in another order, or twice, know the same in the end."""
    assert one.join(two) == two.join(one)
    assert one.join(two).join(three) == one.join(two.join(three))
    assert one.join(two).join(two) == one.join(two)
    assert one.join(NO_FACTS) is one


@given(FACTS, FACTS)
def test_a_session_never_forgets(one: Facts, two: Facts) -> None:
    """Nothing that a session did is lost when more becomes known."""
    joined = one.join(two)
    assert joined.covers(one)
    assert joined.covers(two)
    assert one.covers(two) == (joined == one)


def test_a_hop_leaves_its_action_its_classes_its_dataset_and_its_sensitivity() -> None:
    """What a policy may later ask of a session is all that a hop did, strangers' input included."""
    read = Operation("web.page.read", frozenset({ActionClass.READ}), "web.page.read", "web", "web", Sensitivity.PUBLIC)
    tainted = replace(read, brings_untrusted_input=True)
    assert Facts.of(read) == Facts(frozenset({"web.page.read"}), frozenset({ActionClass.READ}), frozenset({"web"}))
    assert Facts.of(tainted).untrusted_input
