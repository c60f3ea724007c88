"""x-forwarded-client-cert as text: what Envoy writes is read back, and any other text is elements or a refusal."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.svid.forwarded import Element, NotForwarded, read_elements

keys = st.sampled_from(["By", "Hash", "Subject", "URI", "DNS", "Cert"])
values = st.text(alphabet='ab/:=.,;"\\ ', max_size=12)
elements = st.lists(st.lists(st.tuples(keys, values), min_size=1, max_size=4), min_size=1, max_size=3)


def quoted(value: str) -> str:
    """The value in quotes, those within it escaped."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=300, deadline=None)
@given(written=elements)
def test_what_stands_in_quotes_begins_no_element_of_its_own(written: list[list[tuple[str, str]]]) -> None:
    """Elements written with their values in quotes are read back as they were, whatever the values hold."""
    header = ",".join(";".join(f"{key}={quoted(value)}" for key, value in pairs) for pairs in written)
    found = read_elements(header)
    assert len(found) == len(written)
    for element, pairs in zip(found, written, strict=True):
        for key, _ in pairs:
            assert element.of(key.lower()) == tuple(value for name, value in pairs if name == key)


@settings(max_examples=300, deadline=None)
@given(header=st.text(alphabet='URIByx=",;\\ ', max_size=30))
def test_any_text_is_elements_or_a_refusal(header: str) -> None:
    """No text makes the reader fail otherwise; what it accepts has an element, and each of them a value."""
    with contextlib.suppress(NotForwarded):
        found = read_elements(header)
        assert found
        assert all(isinstance(each, Element) and each.values for each in found)
