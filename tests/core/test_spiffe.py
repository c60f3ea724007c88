"""SPIFFE IDs: what the standard calls one is one, nothing else is, and no two spellings are the same."""

import json
import string
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.core.spiffe import MAX_TRUST_DOMAIN_BYTES, MAX_URI_BYTES, SCHEME, NotASpiffeId, SpiffeId, check_trust_domain
from tests.support import corpora

DOMAINS = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=MAX_TRUST_DOMAIN_BYTES)
SEGMENTS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=30).filter(
    lambda segment: segment not in {".", ".."}
)
IDS = st.builds(lambda domain, path: "/".join([f"spiffe://{domain}", *path]), DOMAINS, st.lists(SEGMENTS, max_size=6))


@cache
def vectors() -> list[dict[str, Any]]:
    """The 290 vectors of the corpus."""
    found = json.loads((corpora.folder("spiffe-id") / "spiffe_ids.json").read_text())
    assert len(found) == 290
    return [dict(each) for each in found]


def is_spiffe_id(text: str) -> bool:
    """Whether the text parses."""
    try:
        return SpiffeId.parse(text).uri == text
    except NotASpiffeId:
        return False


def test_what_every_implementation_accepts_is_accepted() -> None:
    """All 64 valid IDs of go-spiffe, py-spiffe and java-spiffe parse to the trust domain and path that they expect."""
    valid = [each for each in vectors() if each["valid"] is True]
    assert len(valid) == 64
    for each in valid:
        parsed = SpiffeId.parse(each["id"])
        assert each["id"] == parsed.uri
        assert each.get("trust_domain", parsed.trust_domain) == parsed.trust_domain
        assert each.get("path", parsed.path) == parsed.path


def test_what_no_implementation_accepts_is_refused() -> None:
    """All 215 invalid IDs of go-spiffe, py-spiffe and java-spiffe are refused."""
    invalid = [each["id"] for each in vectors() if each["valid"] is False]
    assert len(invalid) == 215
    assert [text for text in invalid if is_spiffe_id(text)] == []


def test_upper_case_is_refused_where_implementations_differ() -> None:
    """The 11 IDs that implementations disagree on are refused: SPIFFE-ID 2.1 asks for a lower-case trust domain.

    py-spiffe and java-spiffe lower-case scheme and trust domain, go-spiffe refuses. An ID that is repaired here would
    be another text to whoever compares it byte by byte, so what is not canonical is refused.
    """
    divergent = [each["id"] for each in vectors() if each["valid"] == "divergent"]
    assert len(divergent) == 11
    assert all(text != text.lower() and is_spiffe_id(text.lower()) for text in divergent)
    assert [text for text in divergent if is_spiffe_id(text)] == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0", " ", "\t", "\x85", "\u2028"])
@pytest.mark.parametrize("before", ["spiffe://example.org/agent", "spiffe://example.org"])
def test_nothing_may_stand_behind_an_id(before: str, end: str) -> None:
    """A line end or a blank behind an ID, or behind its trust domain, is not overlooked."""
    assert is_spiffe_id(before)
    assert not is_spiffe_id(before + end)
    assert not is_spiffe_id(before + end + "/agent")
    assert not is_spiffe_id(end + before)


@pytest.mark.parametrize(
    "text", ["spiffe://example.org/ágent", "spiffe://example.org/\u0661", "spiffe://\u0435xample.org/a"]
)
def test_letters_and_digits_are_those_of_ascii(text: str) -> None:
    """Letters and digits of other scripts, also those that look the same, are refused."""
    assert not is_spiffe_id(text)


def test_a_uri_of_2048_bytes_is_read_and_a_longer_one_refused() -> None:
    """SPIFFE-ID 2.3 obliges us to read 2048 bytes; we read no more."""
    longest = "spiffe://example.org/".ljust(MAX_URI_BYTES, "a")
    assert is_spiffe_id(longest)
    assert not is_spiffe_id(longest + "a")


def test_a_trust_domain_of_255_bytes_is_read_and_a_longer_one_refused() -> None:
    """SPIFFE-ID 2.3 bounds the trust domain at 255 bytes."""
    longest = "a" * MAX_TRUST_DOMAIN_BYTES
    assert longest == check_trust_domain(longest)
    assert is_spiffe_id(f"spiffe://{longest}/agent")
    assert not is_spiffe_id(f"spiffe://{longest}a/agent")


@pytest.mark.parametrize("name", ["", "Example.org", "example.org/", "a:1", "u@a", "a b", "spiffe://a", "a%61", "a\n"])
def test_a_trust_domain_is_a_name_and_nothing_more(name: str) -> None:
    """Ports, users, paths, schemes and escapes are no part of a trust domain's name."""
    with pytest.raises(NotASpiffeId):
        check_trust_domain(name)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "begins with"),
        ("https://example.org/agent", "begins with"),
        ("spiffe:///agent", "is missing"),
        ("spiffe://Example.org/agent", "lower-case"),
        ("spiffe://example.org/", "empty segment"),
        ("spiffe://example.org/a//b", "empty segment"),
        ("spiffe://example.org/a/../b", "'..'"),
        ("spiffe://example.org/a%2fb", "may only hold"),
    ],
)
def test_a_refusal_names_the_rule_that_is_broken(text: str, rule: str) -> None:
    """Whoever reads the refusal learns which rule of the standard the text breaks."""
    with pytest.raises(NotASpiffeId, match=rule):
        SpiffeId.parse(text)


@given(IDS)
def test_an_id_is_its_trust_domain_and_its_path(text: str) -> None:
    """Scheme, trust domain and path make up the text again, with nothing lost, added or repaired."""
    parsed = SpiffeId.parse(text)
    assert text == str(parsed) == SCHEME + parsed.trust_domain + parsed.path


@given(IDS, st.data())
def test_no_change_of_one_character_gives_an_equal_id(text: str, data: st.DataObject) -> None:
    """Replace, add or drop one character of an ID: it is refused, or it is another ID with another hash entry."""
    place = data.draw(st.integers(0, len(text)))
    character = data.draw(st.characters(codec=None) | st.sampled_from("/.%?#@:\n"))
    drop = data.draw(st.booleans())
    changed = text[:place] + data.draw(st.sampled_from(["", character])) + text[place + drop :]
    if changed == text or not is_spiffe_id(changed):
        return
    assert SpiffeId.parse(text) != SpiffeId.parse(changed)
    assert len({SpiffeId.parse(text), SpiffeId.parse(changed)}) == 2


@given(st.text(st.characters(codec=None)))
def test_any_text_is_an_id_or_breaks_a_rule(text: str) -> None:
    """No text, lone surrogates among them, makes the parser fail in another way."""
    is_spiffe_id(text)
    is_spiffe_id(SCHEME + text)
    assert not is_spiffe_id(f"{SCHEME}{text}/../agent")
