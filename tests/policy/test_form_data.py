"""Forms in parts: what is read, all readers divide alike; whatever they could divide differently is refused."""

from email import message_from_bytes
from email.policy import HTTP

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from authz.policy.form_data import NotAForm, Part, parts_of
from authz.policy.media_types import NoMediaType, headed

FIELD = b'Content-Disposition: form-data; name="a"'


def form(*parts: bytes, line_end: bytes = b"\r\n") -> bytes:
    """A body of these parts, each with its headers, divided by `b`."""
    return b"".join(b"--b" + line_end + part + line_end for part in parts) + b"--b--" + line_end


def part(content: bytes, head: bytes = FIELD, line_end: bytes = b"\r\n") -> bytes:
    """A part with this content."""
    return head + line_end * 2 + content


def test_fields_and_files_are_read() -> None:
    """Names, types and contents arrive as they were sent, repeated names among them."""
    body = form(
        part(b"1"),
        part(b"", FIELD),
        part(
            b"\xff\r\n\r\n", b'content-disposition: form-data; name=file; filename="x.png"\r\nContent-Type: Image/PNG'
        ),
        part(b"{}", b'Content-Type: application/json; charset="UTF-8"\r\nX-Other: "\r\n' + FIELD),
    )
    assert parts_of(body, "b") == [
        Part("a", is_file=False, media_type="", content=b"1"),
        Part("a", is_file=False, media_type="", content=b""),
        Part("file", is_file=True, media_type="image/png", content=b"\xff\r\n\r\n"),
        Part("a", is_file=False, media_type="application/json", content=b"{}"),
    ]


BAD = {
    "another delimiter for who takes a lone CR": form(part(b"1\r--b--\r")),
    "another delimiter for who takes a lone LF": form(part(b"1\n--b--\n")),
    "another delimiter for who takes any beginning": form(part(b"1\r\n--bc\r\n2")),
    "another delimiter in the middle of a line": form(part(b"1 --b")),
    "padding behind a delimiter": form(part(b"1")).replace(b"--b\r\n", b"--b \r\n"),
    "lines of two kinds": form(part(b"1\r\n2", line_end=b"\n"), line_end=b"\n"),
    "an end of another kind": form(part(b"1")).removesuffix(b"\r\n") + b"\n",
    "text before the first delimiter": b"before\r\n" + form(part(b"1")),
    "text before it, with the other line end": b"before\n" + form(part(b"1", line_end=b"\n"), line_end=b"\n"),
    "a delimiter behind a lone LF": form(part(b"1"), part(b"2")).replace(b"1\r\n--b", b"1\n--b"),
    "a delimiter behind a lone CR": form(part(b"1"), part(b"2")).replace(b"1\r\n--b", b"1\r--b"),
    "a last delimiter behind a lone LF": form(part(b"1")).replace(b"1\r\n--b", b"1\n--b"),
    "a delimiter within a line": form(part(b"1"), part(b"2")).replace(b"1\r\n--b", b"1--b"),
    "a header beside a delimiter": form(part(b"1"), part(b"2")).replace(b"1\r\n--b\r\n", b"1\r\n--bX: 1\r\n"),
    "text behind the last delimiter": form(part(b"1")) + b"behind",
    "no last delimiter": form(part(b"1")).replace(b"--b--", b""),
    "no parts": form(),
    "nothing": b"",
    "a part that is encoded": form(part(b"MQ==", FIELD + b"\r\nContent-Transfer-Encoding: base64")),
    "a part that is quoted": form(part(b"=31", FIELD + b"\r\nContent-Transfer-Encoding: quoted-printable")),
    "a name in the words of RFC 8187": form(part(b"1", b"Content-Disposition: form-data; name*=utf-8''a")),
    "two names": form(part(b"1", FIELD + b'; name="b"')),
    "a name with a backslash": form(part(b"1", b'Content-Disposition: form-data; name="a\\"b"')),
    "no name": form(part(b"1", b"Content-Disposition: form-data")),
    "an empty name": form(part(b"1", b'Content-Disposition: form-data; name=""')),
    "no disposition": form(part(b"1", b"Content-Type: text/plain")),
    "two dispositions": form(part(b"1", FIELD + b'\r\ncontent-disposition: form-data; name="b"')),
    "another disposition": form(part(b"1", b'Content-Disposition: attachment; name="a"')),
    "a folded header": form(part(b"1", FIELD + b';\r\n filename="b"')),
    "a lone LF in a header": form(part(b"1", FIELD + b"\nX: 1")),
    "a header of no bytes of text": form(part(b"1", b"X: \xff\r\n" + FIELD)),
    "a line that is no header": form(part(b"1", FIELD + b"\r\nX")),
    "a space before a colon": form(part(b"1", b'Content-Disposition : form-data; name="a"')),
    "no headers": form(b"\r\n1"),
    "parts in parts": form(part(b"1", FIELD + b"\r\nContent-Type: multipart/mixed; boundary=c")),
    "another charset": form(part(b"+AGEA-", FIELD + b"\r\nContent-Type: text/plain; charset=utf-7")),
    "bytes of another charset": form(part(b"\xe4", FIELD + b"\r\nContent-Type: text/plain; charset=iso-8859-1")),
    "too many parts": form(*[part(b"")] * 1001),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_what_readers_could_divide_differently_is_refused(body: bytes) -> None:
    """Whatever some readers forgive and others do not makes the whole body no form."""
    with pytest.raises(NotAForm):
        parts_of(body, "b")


@pytest.mark.parametrize("boundary", ["", "a ", "a" * 71, "ä", 'a"', "a\r\n"])
def test_a_boundary_is_of_rfc_2046s_form(boundary: str) -> None:
    """Whatever else is named divides nothing."""
    with pytest.raises(NotAForm):
        parts_of(form(part(b"1")), boundary)


def test_ascii_has_one_reading_in_every_charset_like_it() -> None:
    """Clients that name ISO-8859-1 for plain text are read."""
    (found,) = parts_of(form(part(b"1", FIELD + b"\r\nContent-Type: text/plain; charset=ISO-8859-1")), "b")
    assert found.content == b"1"


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z0-9._-]{1,9}", fullmatch=True), st.binary(max_size=30)), min_size=1, max_size=5
    ),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_every_form_is_read_back(fields: list[tuple[str, bytes]], line_end: bytes) -> None:
    """For all names and contents without a delimiter: what a client put in is what is read, with either line end."""
    assume(not any(b"--b" in content or (line_end == b"\n" and b"\r" in content) for _, content in fields))
    parts = [
        part(content, f'Content-Disposition: form-data; name="{name}"'.encode(), line_end) for name, content in fields
    ]
    found = parts_of(form(*parts, line_end=line_end), "b")
    assert [(each.name, each.content) for each in found] == fields


PIECES = [b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b"\n", b"\r", FIELD, b"; name=c", b"x", b" ", b"--", b"X: 1", b'"']


@example(form(part(b"1\r2")))
@given(
    st.lists(st.sampled_from([*PIECES, form(part(b"1")), part(b"2") + b"\r\n"]), max_size=12).map(b"".join)
    | st.lists(st.lists(st.sampled_from(PIECES[2:]), max_size=3).map(b"".join).map(part), min_size=1).map(
        lambda parts: form(*parts)
    )
)
def test_a_second_reader_reads_it_alike(body: bytes) -> None:
    """For all bodies: what is read, Python's reader of mail reads too, part by part, but for its own line ends."""
    try:
        found = parts_of(body, "b")
    except NotAForm:
        return
    message = message_from_bytes(b'content-type: multipart/form-data; boundary="b"\r\n\r\n' + body, policy=HTTP)
    others = [
        (it.get_param("name", header="content-disposition"), it.get_payload(decode=True)) for it in message.iter_parts()
    ]
    assert [name for name, _ in others] == [each.name for each in found]
    for each, (_, content) in zip(found, others, strict=True):
        assert isinstance(content, bytes)
        assert content.splitlines() == each.content.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";a=b",
        "a/b, c/d",
        "a/b; c=d, e/f",
        "a/b; c=1; C=2",
        'a/b; c="\\"',
        "a/b; c*=d",
        "a/b; c",
        "a/b c",
        'a/b; c="',
    ],
)
def test_a_header_with_two_readings_has_none(text: str) -> None:
    """Lists, repeated parameters, escapes in quotes and RFC 8187 are not for headers that decide."""
    with pytest.raises(NoMediaType):
        headed(text)


def test_a_header_is_read() -> None:
    """Names and types in lower case, values as they are, quoted or not, and a semicolon too many."""
    found = headed('Multipart/Form-Data ; Boundary="a, b;c" ;x=Y;')
    assert (found.value, found.parameters) == ("multipart/form-data", {"boundary": "a, b;c", "x": "Y"})
