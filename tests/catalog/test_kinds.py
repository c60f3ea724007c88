"""Kinds of arguments: one strict form each, and nothing that another program could read otherwise."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.kinds import KINDS, TYPES
from authz.core.reasons import Reason
from tests.support.refusals import outcome


def read(kind: str, value: Any) -> object:  # noqa: ANN401  any JSON
    """The typed value, or why it is none."""
    return outcome(partial(KINDS[kind], value))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "Ann", "Ann"),
        ("texts", ["a", "b"], frozenset({"a", "b"})),
        ("texts", "a", frozenset({"a"})),
        ("integer", 42, 42),
        ("boolean", True, True),
        ("cents", 12.5, 1250),
        ("cents", 0.1, 10),
        ("cents", 19.99, 1999),
        ("cents", -3, -300),
        ("email_domains", "Ann.B+x@Example.ORG", frozenset({"example.org"})),
        ("email_domains", ["a@x.org", "b@y.org"], frozenset({"x.org", "y.org"})),
        ("url_hosts", "https://Example.org:8443/a?b", frozenset({"example.org"})),
        ("path", "reports/2026/q3.pdf", "reports/2026/q3.pdf"),
        ("path", "/srv/data", "/srv/data"),
        ("sql_kind", "SELECT * FROM contacts WHERE id = 7", "read"),
        ("sql_kind", "with x as (select 1) select * from x", "read"),
        ("sql_kind", "WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone", "delete"),
        ("sql_kind", "select * into copy_of from contacts", "write"),
        ("sql_kind", "UPDATE t SET a = 'delete from x'", "write"),
        ("sql_kind", "insert into t values (1) on conflict do update set a = 1", "write"),
        ("sql_kind", "TRUNCATE t", "delete"),
        ("sql_kind", "drop table t;", "admin"),
        ("sql_kind", "GRANT ALL ON t TO eve", "admin"),
        ("sql_tables", "SELECT 1 FROM Contacts c, sales.orders o WHERE 1 = 1", {"contacts", "sales.orders"}),
        ("sql_tables", 'select * from "integration_tokens"', frozenset({"integration_tokens"})),
        ("sql_tables", "select * from a join b using (x, y)", frozenset({"a", "b"})),
        ("sql_tables", "select * from a where id in (select id from secret)", frozenset({"a", "secret"})),
        ("sql_tables", "select * from (select x, y from secret) s, t", frozenset({"secret", "t"})),
        ("sql_tables", "with c as (select * from secret) select * from c", frozenset({"c", "secret"})),
        ("sql_tables", "delete from a using b", frozenset({"a", "b"})),
        ("sql_tables", "insert into log (x, y) select x, y from secret", frozenset({"log", "secret"})),
        ("sql_tables", "update t set a = 1", frozenset({"t"})),
    ],
)  # fmt: skip
def test_a_value_of_its_kind_is_typed(kind: str, value: object, expected: object) -> None:
    """Each kind gives what policies compare, in one form."""
    found = read(kind, value)
    assert found == expected
    assert isinstance(found, TYPES[kind])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 7), ("text", "a\u0000b"), ("text", "a\nb"), ("text", "x" * 3000), ("text", "\u202ex"),
        ("texts", [["a"]]), ("texts", ["a"] * 101), ("texts", {"a": 1}),
        ("integer", 1.5), ("integer", True), ("integer", "7"),
        ("boolean", 1), ("boolean", "true"),
        ("cents", 1.005), ("cents", "1.00"), ("cents", True),
        *(("email_domains", each) for each in (
            "eve@evil.example,ann@example.org", "Ann <eve@evil.example>", "a@b@c.org", '"a@good.org"@evil.example',
            "ann@example.org\n", "ann@example.org;eve@evil.example", "ann", "@example.org", "a@-x.org", "a@x..org",
            "a b@x.org", "a@x.org ", "eve%evil.example@good.org", "a@[127.0.0.1]", "a@xn--/.org", ["a@x.org", 7],
        )),
        *(("url_hosts", each) for each in (
            "https://good.org@evil.example/", "https://evil.example\\.good.org/", "//evil.example",
            "ftp://x.org",
            "https://good.org#@evil.example", "javascript:x", "https://[::1]/", "https:///x", "https://x.org\t",
            "https://good.org\\@evil.example",
        )),
        *(("path", each) for each in (
            "../x", "a/../b", "/a//b", "a/./b", "~root", "a\\b", "a%2fb", "", "a/", "a*", "$HOME", "a;b", "C:x",
        )),
        *(("sql_kind", each) for each in (
            "", ";", "select 1; drop table t", "select 1 -- x", "select /* x */ 1", "select '\\' or 1", "select $$x$$",
            "select pg_read_file('x')", "select lo_unlink(1)", "table secret", "xyz", "select 1 # x", "(select 1)",
            "select 'open", 'select "open', "select \u0430", "/*! select */ 1", "explain delete from t;x",
        )),
        *(("sql_tables", each) for each in (
            "select 1", "select query_to_xml('select * from secret') from a", "select * from dblink('x') t",
        )),
    ],
)  # fmt: skip
def test_a_value_of_two_readings_is_refused(kind: str, value: object) -> None:
    """What a mail program, a browser, a shell or a database could read as something else is no value of the kind."""
    assert read(kind, value) is Reason.ARGUMENT_MALFORMED


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
sql_like = st.lists(
    st.sampled_from(
        ["select", "from", "a", "secret", ",", "(", ")", "join", "'x'", '"t"', ".", "delete", "with", "as", "*",
         "into", "update", ";", "-", "/", "union", "$1", ":x", "where", "insert"]
    ),
    max_size=14,
).map(" ".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), value=anything | sql_like)
def test_whatever_is_given_is_typed_or_refused(kind: str, value: object) -> None:
    """No value makes a kind fail, and what it accepts is of the declared type."""
    found = read(kind, value)
    assert found is Reason.ARGUMENT_MALFORMED or isinstance(found, TYPES[kind])


@settings(max_examples=300, deadline=None)
@given(statement=sql_like)
def test_no_table_hides(statement: str) -> None:
    """Where a statement that is accepted reads from a name, the name is among its tables."""
    found = read("sql_tables", statement)
    if isinstance(found, frozenset):
        for before, name in pairwise(statement.split()):
            if before in {"from", "join", "into"} and name in {"a", "secret"}:
                assert any(name in table.split(".") for table in found)
