"""One reading of a path, or none."""

import time
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.paths import MAX_TEMPLATE_CHARACTERS, NotATemplate, Template, read_path, text_of
from authz.core.errors import Refused
from authz.core.reasons import Reason
from tests.support.refusals import outcome

NEEDS_NO_ENCODING = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
DIVIDES_WHEN_DECODED = "/\\.;%?#"
PLAIN_BESIDES = "$&'()*+,:=@"
MUST_BE_ENCODED = ' "<>[]^`{|}!'


def decoded(path: str) -> list[str]:
    """What the segments of the path say."""
    return [text_of(segment) for segment in read_path(path)]


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", [""]),
        ("/contacts", ["contacts"]),
        ("/contacts/", ["contacts", ""]),
        ("/contacts/42/notes", ["contacts", "42", "notes"]),
        ("/a.b/.json/a..b/..a", ["a.b", ".json", "a..b", "..a"]),
        ("/v1/tasks:cancel", ["v1", "tasks:cancel"]),
        ("/~me/a-b_c", ["~me", "a-b_c"]),
        ("/$&'()*+,:=@", ["$&'()*+,:=@"]),
        ("/caf%C3%A9", ["caf%C3%A9"]),
        ("/alice%40example.org", ["alice%40example.org"]),
    ],
)
def test_a_plain_path_is_read(path: str, segments: list[str]) -> None:
    """What every upstream divides in the same way is divided at its slashes, and keeps its encoding."""
    assert segments == read_path(path)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/a?b=c", ["a"]),
        ("/a?", ["a"]),
        ("/a??b", ["a"]),
        ("/a/?b", ["a", ""]),
        ("/a?b?c", ["a"]),
        ("/a?redirect=//evil/../;%2f\\!", ["a"]),
    ],
)
def test_the_first_question_mark_ends_the_path(path: str, segments: list[str]) -> None:
    """The query is cut off at the first question mark, and nothing in it changes how the path is read."""
    assert segments == read_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "admin",
        "?",
        "?/admin",
        "*",
        " /admin",
        "http://crm.example.org/admin",
        "//",
        "//admin",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/./a",
        "/a/.",
        "/a/./",
        "/a/../b",
        "/.../admin",
        "/..../",
        "/a;b",
        "/a;/b",
        "/..;/admin",
        "/;/admin",
        "/a\\b",
        "/\\admin",
        "/a!b",
        "/a!",
        "/a b",
        "/a\tb",
        "/a\nb",
        "/a\n",
        "/a\r",
        "/a\x00",
        "/a\x7f",
        "/café",
        "/\uff41dmin",
        "/a\u2028",
        '/a"b',
        "/a<b>",
        "/a[b]",
        "/a^b",
        "/a`b",
        "/{a}",
        "/a|b",
        "/a#b",
        "/a#",
        "/a?b#c",
        "/a%",
        "/a%4",
        "/a%4g",
        "/a%g4",
        "/a%%30",
        "/%u0061",
        "/%zz",
    ],
)
def test_a_path_with_two_readings_is_refused(path: str) -> None:
    """Dots, empty segments, path parameters, backslashes, bytes that no path holds: refused, not repaired."""
    assert outcome(partial(read_path, path)) is Reason.PATH_AMBIGUOUS


def test_no_path_is_another_reason() -> None:
    """A request without a path, as with CONNECT, is told apart from one with a strange path."""
    assert outcome(partial(read_path, "")) is Reason.PATH_MISSING


@pytest.mark.parametrize("octet", range(128))
def test_each_octet_is_encoded_where_it_must_be_and_nowhere_else(octet: int) -> None:
    """Encoded letters, digits, `-._~`, dividing and control characters are refused; all others are decoded.

    Which case the hexadecimal digits have never matters.
    """
    character = chr(octet)
    refused = character in NEEDS_NO_ENCODING + DIVIDES_WHEN_DECODED or octet < 0x20 or octet == 0x7F
    for digits in {f"{octet:02x}", f"{octet:02X}"}:
        found = outcome(partial(decoded, f"/x%{digits}y"))
        assert found == (Reason.PATH_AMBIGUOUS if refused else [f"x{character}y"])
    as_it_is = outcome(partial(read_path, f"/x{character}y"))
    if character in NEEDS_NO_ENCODING + PLAIN_BESIDES:
        assert as_it_is == [f"x{character}y"]
    elif character == "/":
        assert as_it_is == ["x", "y"]
    elif character == "?":
        assert as_it_is == ["x"]
    else:
        assert as_it_is is Reason.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "encoded",
    [
        "%FF",
        "%C3",
        "%C3%28",
        "%C0%AF",
        "%C0%AE%C0%AE",
        "%c1%9c",
        "%E0%80%AF",
        "%ED%A0%80",
        "%F4%90%80%80",
        "%C3/%A9",
    ],
)
def test_encoded_bytes_that_are_no_text_are_refused(encoded: str) -> None:
    """Overlong forms, surrogates and broken UTF-8 are refused, because decoders repair them differently."""
    assert outcome(partial(read_path, f"/a{encoded}")) is Reason.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "text",
    [
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
        "a\uff0fb",
        "a\uff3cb",
        "\uff0e\uff0e",
        "\u2025",
        "\u2026",
        " ",
        "\u3000",
        " . ",
        "a\u2100",
    ],
)
def test_encoded_text_that_may_become_a_divider_is_refused(text: str) -> None:
    """Controls, line breaks, and what Unicode calls compatible with slashes and dot segments, are refused."""
    assert outcome(partial(read_path, f"/x/{quote(text, safe='')}")) is Reason.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "text", ["Łódź", "東京", "何ですか\uff1f", "naïve café", "🦊", "नमस्ते", "\u0645\u0631\u062d\u0628\u0627", "a b"]
)
def test_text_of_any_language_is_fine(text: str) -> None:
    """Percent-encoded UTF-8, in either case of its digits, is read and means its text."""
    encoded = quote(text, safe="")
    assert [text] == decoded(f"/{encoded}")
    lower = "".join(part.lower() if part.startswith("%") else part for part in _triplets(encoded))
    assert [text] == decoded(f"/{lower}")


def _triplets(encoded: str) -> list[str]:
    """The text, cut before and behind each percent-encoded octet."""
    parts: list[str] = []
    while encoded:
        size = 3 if encoded.startswith("%") else 1
        parts, encoded = [*parts, encoded[:size]], encoded[size:]
    return parts


@settings(deadline=None)
@given(st.text(max_size=80))
def test_every_text_is_read_or_refused(path: str) -> None:
    """No text whatever raises anything but Refused, and what is read is the path, divided at its slashes."""
    found = outcome(partial(read_path, path))
    if isinstance(found, list):
        assert path.partition("?")[0] == "/" + "/".join(found)
        assert all(found[:-1])
    else:
        assert found is (Reason.PATH_AMBIGUOUS if path else Reason.PATH_MISSING)


@settings(deadline=None)
@given(st.text(alphabet="/.%;2eEfFcC0\\!aA?#é", max_size=40))
def test_a_readable_path_has_nothing_that_upstreams_fight_over(path: str) -> None:
    """What is accepted, whatever it is made of, has no dot segment, divider or control, decoded once or twice."""
    found = outcome(partial(read_path, "/" + path))
    if isinstance(found, list):
        for segment in found:
            text = text_of(segment)
            assert text_of(quote(text, safe="$&'()*+,:=@")) == text
            assert not set(text) & set("/\\;%?#\x00")
            assert text.strip(".") or not segment


def test_a_long_hostile_path_costs_its_length_and_no_more() -> None:
    """A mebibyte of almost-matches is refused within seconds, even by a machine that pauses: no pattern runs away."""
    for unit in ("/a", "/.", "/..a", "a.", "%41", "%C3%A9", "/%2e"):
        path = "/x" + unit * (2**20 // len(unit)) + ";"
        started = time.process_time()
        with pytest.raises(Refused) as refused:
            read_path(path)
        assert time.process_time() - started < 20  # one that ran away would take hours
        assert len(refused.value.detail) < 1000


@pytest.mark.parametrize(
    ("text", "literals", "parameters", "ends_with_slash"),
    [
        ("/", (), (), True),
        ("/contacts", ("contacts",), (), False),
        ("/contacts/", ("contacts",), (), True),
        ("/contacts/{contact_id}", ("contacts", None), ((1, "contact_id"),), False),
        ("/{a}/b/{C}/", (None, "b", None), ((0, "a"), (2, "C")), True),
        ("/tasks:cancel", ("tasks:cancel",), (), False),
    ],
)
def test_a_template_is_literals_and_whole_segment_parameters(
    text: str, literals: tuple[str | None, ...], parameters: tuple[tuple[int, str], ...], *, ends_with_slash: bool
) -> None:
    """A template is read segment by segment; a slash at its end is part of it."""
    assert Template(text, literals, parameters, ends_with_slash) == Template.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "contacts",
        "//",
        "/a//b",
        "/..",
        "/a/./b",
        "/{}",
        "/{a b}",
        "/{1a}",
        "/{a}/{a}",
        "/x{a}",
        "/{a}x",
        "/{a}{b}",
        "/{a*}",
        "/{+a}",
        "/*/[a]",
        "/a;b",
        "/a!",
        "/a%20b",
        "/a?b",
        "/a#b",
        "/é",
        "/a b",
        "/a\n",
        "/{" + "a" * 65 + "}",
        "/" + "a" * MAX_TEMPLATE_CHARACTERS,
    ],
)
def test_no_other_template_is_accepted(text: str) -> None:
    """Patterns within a segment, encoded literals and what no path can be are no templates."""
    with pytest.raises(NotATemplate):
        Template.parse(text)


@settings(deadline=None)
@given(st.text(alphabet="/aZ0.-_~$&'()*+,:=@;!%# é", max_size=20))
def test_a_template_without_parameters_can_be_requested(path: str) -> None:
    """A text is a template of literals alone exactly if it is a readable path, with the same segments."""
    text = "/" + path
    try:
        template = Template.parse(text)
    except NotATemplate:
        assert outcome(partial(read_path, text)) is Reason.PATH_AMBIGUOUS
        return
    assert [*template.literals, *([""] if template.ends_with_slash else [])] == read_path(text)
