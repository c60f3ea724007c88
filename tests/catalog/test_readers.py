"""Each reader of a request against an independent one: what is accepted the other reads alike, else it is refused."""

import json
import ntpath
import posixpath
import re
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from graphql import build_schema, graphql_sync
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from authz.catalog import kinds
from authz.catalog.entry import Pointer, is_absent
from authz.catalog.http import HttpCatalog
from authz.catalog.paths import read_path
from authz.catalog.queries import read_query
from authz.catalog.sql import sql_kind, sql_tables
from authz.catalog.strict_json import read_json
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Request
from tests.support.catalogs import request
from tests.support.messages import attempt, post, service_of
from tests.support.refusals import outcome

bounded = settings(max_examples=300, deadline=None)
TOOLS = {"get": attempt("crm.read"), "drop": attempt("crm.drop", **{"class": "delete"})}
MCP = service_of(
    mcp={
        "path": "/mcp",
        "session": attempt("crm.session"),
        "tools": TOOLS,
        "resources": {"crm://contacts/{contact_id}": attempt("crm.contact")},
    }
)
A2A = service_of(
    a2a={
        "path": "/a2a",
        "rest": "/rest",
        "card": attempt("a2a.card"),
        "methods": {name: attempt(f"a2a.{name.lower()}") for name in ("SendMessage", "GetTask", "CancelTask")},
    }
)
GRAPHQL = service_of(
    graphql={
        "path": "/graphql",
        "query": {"contact": attempt("query.contact")},
        "mutation": {"contact": attempt("mutation.contact"), "drop": attempt("mutation.drop")},
    }
)
GRPC = service_of(grpc={"book.Books": {"Get": attempt("book.get"), "Put": attempt("book.put")}})


def hop(catalog: HttpCatalog, asked: Request) -> Hop | None:
    """The hop that a request is; None where it is refused. Any other exception fails the test."""
    found = outcome(partial(catalog.classify, asked))
    return found if isinstance(found, Hop) else None


# JSON as text, with members that are repeated or differ in case alone.
Pairs = list[tuple[str, Any]]


def written(pairs: Pairs) -> str:
    """An object of these members, repeated ones too."""
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


def lenient_readings(text: bytes | str) -> list[Any]:
    """What readers make of it that take the first of repeated members, or the last, or fold the case of names."""
    first = partial(json.loads, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    folding = partial(json.loads, object_pairs_hook=lambda pairs: {name.casefold(): value for name, value in pairs})
    return [json.loads(text), first(text), folding(text)]


tools = st.sampled_from(["get", "drop"]).map(json.dumps)
tool_names = st.tuples(st.sampled_from(["name", "Name", "NAME", "x"]), tools)
spelled_apart = st.lists(tool_names, max_size=2, unique_by=lambda pair: pair[0])
params = (
    st.builds(lambda tool, more: [("name", tool), *(pair for pair in more if pair[0] != "name")], tools, spelled_apart)
    | st.lists(tool_names, min_size=1, max_size=3)
).map(written)
members = st.tuples(st.sampled_from(["params", "params", "Params", "PARAMS"]), params) | st.tuples(
    st.sampled_from(["method", "Method"]), st.just('"tools/call"')
)
envelopes = (st.just([]) | st.lists(members, max_size=2)).flatmap(
    lambda more: params.map(
        lambda given: written([("jsonrpc", '"2.0"'), ("id", "1"), ("method", '"tools/call"'), ("params", given), *more])
    )
)


@bounded
@given(text=envelopes)
def test_an_mcp_call_is_the_same_tool_to_every_reader(text: str) -> None:
    """Whichever of repeated or oddly spelled members a server takes, it calls the tool that was decided on."""
    found = hop(MCP, post("/mcp", text.encode()))
    if found is not None:
        called = {reading["params"]["name"] for reading in lenient_readings(text)}
        assert {TOOLS[name]["action"] for name in called} == {found.operation.action}


methods = st.sampled_from(["message/send", "SendMessage", "tasks/get", "GetTask", "tasks/cancel", "CancelTask"])
MEANT = {"message/send": "sendmessage", "tasks/get": "gettask", "tasks/cancel": "canceltask"}


@bounded
@given(pairs=st.lists(st.tuples(st.sampled_from(["method", "METHOD", "methoD", "id"]), methods), max_size=3))
def test_an_a2a_message_is_the_same_method_to_every_reader(pairs: Pairs) -> None:
    """Whichever of repeated or oddly spelled members an agent takes, it is the method that was decided on."""
    quoted = [(name, json.dumps(value)) for name, value in pairs]
    text = written([("jsonrpc", '"2.0"'), *quoted, ("params", '{"message": {"parts": []}, "id": "1"}')])
    found = hop(A2A, post("/a2a", text.encode()))
    if found is not None:
        called = {reading["method"] for reading in lenient_readings(text)}
        assert {f"a2a.{MEANT.get(name, name.lower())}" for name in called} == {found.operation.action}


rest_pieces = st.sampled_from(["tasks", "message:send", "1", "1:cancel", "1:cancel:x", ":cancel", "%3Acancel", "", "."])


@bounded
@given(method=st.sampled_from(["GET", "POST", "DELETE"]), pieces=st.lists(rest_pieces, min_size=1, max_size=3))
def test_an_a2a_rest_call_is_what_its_path_says_and_nothing_near_it(method: str, pieces: list[str]) -> None:
    """Only the paths that A2A names are calls, each the one that it names."""
    path = "/rest/" + "/".join(pieces)
    body = json.dumps({"message": {"parts": []}}).encode()
    found = hop(A2A, post(path, body, method=method) if method == "POST" else request(path, method=method))
    named = {
        r"POST /rest/message:send": "a2a.sendmessage",
        r"GET /rest/tasks/[^/:]+": "a2a.gettask",
        r"POST /rest/tasks/[^/:]*:cancel": "a2a.canceltask",
    }
    if found is not None:
        (meant,) = (action for shape, action in named.items() if re.fullmatch(shape, f"{method} {unquote(path)}"))
        assert found.operation.action == meant


SCHEMA = build_schema("type Query { contact: Int payroll: Int } type Mutation { contact: Int drop: Int }")
graphql_words = st.lists(
    st.sampled_from(
        ["query", "mutation", "{", "}", "{", "}", "contact", "drop", "payroll", "a:", "...F", "fragment F on Query",
         "fragment F on Mutation", "... on Query", "@include(if: false)", "#", "\n", "Q", "__typename", "\ufeff", ","]
    ),
    min_size=3,
    max_size=16,
).map(" ".join)  # fmt: skip
roots = st.sampled_from(["contact", "drop", "a: drop", "payroll", "__typename", "...F", "... on Mutation { drop }"])
operations = st.builds(
    lambda kind, name, fields: f"{kind} {name} {{ {' '.join(fields)} }}",
    st.sampled_from(["query", "mutation"]),
    st.sampled_from(["", "A", "B"]),
    st.lists(roots, min_size=1, max_size=3),
)
fragments = st.sampled_from(["fragment F on Query { contact }", "fragment F on Mutation { drop }"])
documents = st.lists(operations | operations | fragments, min_size=1, max_size=3).map("\n".join)


@bounded
@given(document=graphql_words | documents, name=st.sampled_from([None, "A", "B"]))
def test_a_graphql_server_runs_what_was_decided_on(document: str, name: str | None) -> None:
    """The root fields that a real executor resolves are the one that the hop is of: a mutation is never a query."""
    found = hop(GRAPHQL, post("/graphql", {"query": document, "operationName": name}))
    if found is None:
        return
    ran: set[str] = set()

    def resolve(_source: object, info: Any) -> int:  # noqa: ANN401  the library's own
        ran.add(f"{info.parent_type.name.lower()}.{info.field_name}")
        return 1

    graphql_sync(SCHEMA, document, operation_name=name, field_resolver=resolve)
    assert ran <= {found.operation.action}


@bounded
@given(
    path=st.lists(
        st.sampled_from(["/", "book.Books", "book.books", "Get", "Put", "get", "%47et", ".", "?", "x", ";", "#", "\\"]),
        max_size=6,
    ).map("".join)
)
def test_a_grpc_path_is_one_method_exactly(path: str) -> None:
    """A path is a call only if it is, character for character, the one that gRPC's servers look up."""
    headers = {"content-type": ("application/grpc",)}
    found = hop(GRPC, post(path, b"", headers))
    named = {"/book.Books/Get": "book.get", "/book.Books/Put": "book.put"}
    if found is not None:
        assert found.operation.action == named[path.partition("?")[0]]


query_texts = st.lists(
    st.sampled_from(["a", "A", "b", "=", "&", "1", "+", "%41", "%61", "%26", "[]", ".x", ";", "%", "#", "%00", "é"]),
    max_size=9,
).map("".join)
query_pairs = st.sampled_from(["a=1", "a=2", "A=1", "a[]=1", "a.x=1", "%61=1", "a=%41", "a", "b=1", "a=+"])


@bounded
@given(query=query_texts | st.lists(query_pairs, max_size=3).map("&".join))
def test_a_query_parameter_has_one_value_to_every_reader(query: str) -> None:
    """What is read of a query the standard library reads alike, once, whatever case or brackets it is asked for in."""
    found = outcome(partial(read_query, query, ["a"]))
    if not isinstance(found, Reason):
        folded = [value for name, value in parse_qsl(query, keep_blank_values=True) if name.lower().rstrip("[]") == "a"]
        assert folded == list(found.values())


@bounded
@given(
    uri=st.lists(
        st.sampled_from(["crm", "://", "contacts", "/", "7", "..", "%2e", "%2F", "@", "?", "#", "\\", "é", " "]),
        max_size=9,
    ).map("".join)
    | st.text(alphabet="c:/7.%2eF@é?#", max_size=6).map(lambda tail: "crm://contacts/" + tail)
)  # fmt: skip
def test_a_resource_is_the_same_to_every_reader_of_uris(uri: str) -> None:
    """What is taken for a contact the standard library divides into the same name and the same one segment."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}}
    found = hop(MCP, post("/mcp", call))
    if found is not None:
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("crm", "contacts", "", "")
        assert unquote(parts.path) == "/" + found.parameters["contact_id"]
        assert posixpath.normpath(unquote(parts.path)) == unquote(parts.path)


STATEMENT_WORDS = """
select * a from t s , ( ) where 1 = 'x' "s" insert into values
delete update set drop table with as union join replace ; x limit create
""".split()  # noqa: SIM905  as they would be written
statements = st.lists(st.sampled_from(STATEMENT_WORDS), min_size=2, max_size=12).map(" ".join)
table = st.sampled_from(["t", "s", '"s"', "T", "(select a from s)", "t, s", "t join s"])
selects = st.builds(
    "select {} from {}{}".format,
    st.sampled_from(["a", "*", "(select a from s)"]),
    table,
    st.sampled_from(["", " where a in (select a from s)", " union select a from s", "; drop table t"]),
)
changes = st.sampled_from(
    [
        "delete from t",
        "insert into t select a from s",
        "update t set a = (select a from s)",
        "replace into t values (1)",
        "with x as (select a from s) delete from t",
        "with x as (select 1) insert into t select * from x",
    ]
)
READS = {sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def as_sqlite_sees_it(statement: str) -> tuple[bool, set[str]]:
    """Whether SQLite does nothing but read for this statement, and the tables that it reads; assumed to be valid."""
    did: list[tuple[int, str | None]] = []
    with sqlite3.connect(":memory:") as database:
        database.executescript("create table t (a); create table s (a);")

        def note(action: int, name: str | None, *_: str | None) -> int:
            did.append((action, name))
            return sqlite3.SQLITE_OK

        database.set_authorizer(note)
        try:
            database.execute(statement)
        except (sqlite3.Error, sqlite3.Warning):
            assume(False)  # noqa: FBT003  Hypothesis's own way to say so
    database.close()
    tables = {name.lower() for action, name in did if action == sqlite3.SQLITE_READ and name}
    return {action for action, _ in did} <= READS, tables


@bounded
@given(statement=selects | changes | statements)
def test_sql_that_reads_only_reads_and_only_the_tables_named(statement: str) -> None:
    """What is a read to us a real database only reads, and every table that it opens is among those we found."""
    kind, names = outcome(partial(sql_kind, statement)), outcome(partial(sql_tables, statement))
    if isinstance(kind, Reason):
        return
    only_reads, opened = as_sqlite_sees_it(statement)
    assert only_reads or kind != "read"
    assert isinstance(names, Reason) or opened <= names


@bounded
@given(text=st.text(alphabet="ab/.\\%2eF~:*$ é\x00", max_size=14))
def test_a_file_path_stays_where_it_says(text: str) -> None:
    """A path that is accepted is in its normal form to every system, before it is decoded and after."""
    found = outcome(partial(kinds.path, text))
    if not isinstance(found, Reason):
        assert posixpath.normpath(found) == found == unquote(found)
        assert ntpath.normpath(found).replace("\\", "/") == found
        assert ".." not in found.split("/")


leaves = st.integers(-9, 9) | st.sampled_from(["x", True, None])
names = st.sampled_from(["a", "A", "b", "a/b", "~", "~1", "", "0", "1", "é"])
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


@bounded
@given(tree=trees, steps=st.lists(names, min_size=1, max_size=3))
def test_a_json_pointer_finds_what_rfc_6901_says(tree: object, steps: list[str]) -> None:
    """The value at a place is the one that the RFC's steps lead to; one that differs in case alone is never found."""
    text = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    found = outcome(partial(Pointer.parse(text).find, tree))
    at: Any = tree
    for step in steps:
        if isinstance(at, dict) and step in at:
            at = at[step]
        elif isinstance(at, list) and step in {"0", "1"} and int(step) < len(at):
            at = at[int(step)]
        else:
            at = None
            break
    if not isinstance(found, Reason):
        assert (None if is_absent(found) else found) == at


@bounded
@given(
    pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "[]", "{}"])), max_size=5),
    depth=st.integers(0, 5),
)
def test_a_member_given_twice_is_refused_however_deep(pairs: Pairs, depth: int) -> None:
    """Objects are read exactly if no member is repeated; what is read is the same when it is written and read again."""
    text = "[" * depth + written(pairs) + "]" * depth
    found = outcome(partial(read_json, text.encode()))
    if len({name for name, _ in pairs}) < len(pairs):
        assert found is Reason.BODY_AMBIGUOUS
    else:
        assert found == json.loads(text) == read_json(json.dumps(found).encode())


HOSTILE: dict[str, Callable[[int], object]] = {
    "path": lambda size: outcome(partial(read_path, "/" + "a" * size + "%2f")),
    "path of escapes": lambda size: outcome(partial(read_path, "/" + "%C3%A9" * size + "!")),
    "query": lambda size: outcome(partial(read_query, "a=" + "1%41" * size + "é", ["a"])),
    "query of names": lambda size: outcome(partial(read_query, "[.a" * size + "=1", ["a"])),
    "json of brackets": lambda size: outcome(partial(read_json, b"[" * size)),
    "json of quotes": lambda size: outcome(partial(read_json, b"[" * 70 + b'"' + b"\\" * size)),
    "json of digits": lambda size: outcome(partial(read_json, b"9" * min(size, 4000))),
    "sql of quotes": lambda size: outcome(partial(sql_kind, "select " + "''" * (size // 2) + "'")),
    "uri": lambda size: hop(
        MCP,
        post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "a:" * size}}),
    ),
    "graphql": lambda size: hop(GRAPHQL, post("/graphql", {"query": "{contact" * size})),
    "address": lambda size: outcome(partial(kinds.email_domains, "a." * size + "@")),
    "host": lambda size: outcome(partial(kinds.url_hosts, "http://" + "a-" * size)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_its_length_and_no_more(name: str) -> None:
    """Sixteen times as long a text takes far less than 256 times as long: no reader goes back over what it read."""

    def seconds(size: int) -> float:
        def once() -> float:
            begin = time.perf_counter()
            HOSTILE[name](size)
            return time.perf_counter() - begin

        return min(once() for _ in range(5))

    assert seconds(16_000) < 64 * max(seconds(1_000), 0.0002)
