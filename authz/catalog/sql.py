"""One SQL statement in, what it does and the tables that it names out; what cannot be read for certain is refused.

The text is divided, not parsed: databases differ in grammar, and a parser of another dialect would be sure of
something that the database reads otherwise. So nothing is accepted in which the dialects' pieces differ (comments,
backslashes, dollar quotes, two statements), every word that is a verb anywhere counts as one, and functions are called
only if they are known to do nothing but compute: others read files, run queries from texts, or write.
"""

import re
from typing import Any, NoReturn

from authz.core.errors import Refused
from authz.core.reasons import Reason

MAX_CHARACTERS = 4000

_PIECE = re.compile(
    r"\s+|'(?:[^'\\]|'')*+'|\"(?:[^\"\\]|\"\")++\"|`[^`\\]++`|[A-Za-z_][A-Za-z0-9_]*+|[0-9]++(?:\.[0-9]*+)?"
    r"|<=|>=|<>|!=|\|\||::|[-+*/%<>=(),.;?](?!(?<=-)-|(?<=/)\*)|:[A-Za-z_][A-Za-z0-9_]*+|\$[0-9]++"
)
_IN_ORDER_OF_HARM = ("admin", "delete", "write", "read")
_KIND_BY_VERB = {
    **dict.fromkeys(("select", "with", "values", "table"), "read"),
    **dict.fromkeys(("insert", "update", "merge", "upsert", "replace", "into", "lock"), "write"),
    **dict.fromkeys(("delete", "truncate"), "delete"),
    **dict.fromkeys(
        (
            *("create", "alter", "drop", "rename", "grant", "revoke", "set", "reset", "exec", "execute", "call", "do"),
            *("copy", "load", "attach", "detach", "pragma", "vacuum", "analyze", "explain", "begin", "commit", "use"),
            *("rollback", "savepoint", "declare", "prepare", "deallocate", "listen", "notify", "outfile", "dumpfile"),
            *("handler", "import", "install", "kill", "shutdown", "backup", "restore", "comment", "reindex", "cluster"),
        ),
        "admin",
    ),
}
_READING_STARTS = frozenset({"select", "with", "values"})
_BEFORE_ONE_TABLE = frozenset({"into", "update", "table"})
_BEFORE_TABLES = frozenset({"from", "join"})
_AFTER_TABLES = frozenset(
    {"on", "using", "where", "order", "group", "having", "limit", "union", "except", "intersect", "set"}
)
_NOT_YET_A_TABLE = frozenset({"only", "lateral"})
_MAY_STAND_BEFORE_A_PARENTHESIS = frozenset(
    (
        *(
            "in",
            "and",
            "or",
            "not",
            "exists",
            "on",
            "using",
            "over",
            "as",
            "from",
            "join",
            "any",
            "all",
            "some",
            "when",
        ),
        *(
            "then",
            "else",
            "where",
            "having",
            "by",
            "select",
            "values",
            "union",
            "except",
            "intersect",
            "distinct",
            "case",
        ),
        *("lateral", "filter", "within", "limit", "offset", "set", "returning", "between", "like", "only", "interval"),
        *(
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "abs",
            "ceil",
            "ceiling",
            "floor",
            "round",
            "power",
            "sqrt",
            "mod",
            "sign",
        ),
        *(
            "lower",
            "upper",
            "length",
            "char_length",
            "trim",
            "ltrim",
            "rtrim",
            "substr",
            "substring",
            "replace",
            "concat",
        ),
        *("coalesce", "nullif", "greatest", "least", "cast", "extract", "date_trunc", "date_part", "date", "strftime"),
        *("now", "row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value", "ntile", "varchar"),
        *("decimal", "numeric", "char", "string_agg", "array_agg", "group_concat", "stddev", "variance", "median"),
    )
)


def sql_kind(value: Any) -> str:  # noqa: ANN401  any JSON
    """What the statement does at worst: `read`, `write`, `delete` or `admin`."""
    words = [piece.lower() for piece in _pieces(value)]
    verb = words[0]
    if _KIND_BY_VERB.get(verb) in {None, "read"} and verb not in _READING_STARTS:
        _refuse("begins with no verb that is known")
    kinds = {
        _KIND_BY_VERB[word]
        for word, following in zip(words, [*words[1:], ""], strict=True)
        if word in _KIND_BY_VERB
        and not (word == "set" and verb in {"update", "insert", "merge"})  # its own clause
        and not (word == "replace" and following == "(")  # the function
        and not (word == "do" and verb == "insert")  # on conflict do update
    }
    return next(kind for kind in _IN_ORDER_OF_HARM if kind in kinds)


def sql_tables(value: Any) -> frozenset[str]:  # noqa: ANN401  any JSON
    """Every name, in lower case, that stands anywhere in the statement as a table could: too many rather than too few.

    A name with its schema is one name, `sales.orders`. A quoted name counts as if it were not quoted. Names of common
    table expressions count too, since a real table may have the same name.
    """
    pieces = _pieces(value)
    is_list = _BEFORE_TABLES | ({"using"} if pieces[0].lower() in {"delete", "merge"} else set())
    found: set[str] = set()
    for index, piece in enumerate(pieces):
        word = piece.lower()
        if word in _BEFORE_ONE_TABLE and index + 1 < len(pieces) and _is_name(pieces[index + 1]):
            found.add(_dotted(pieces, index + 1)[0])
        elif word in is_list:
            found |= _tables(pieces, index + 1)
    if not found:
        _refuse("names no table")
    return frozenset(found)


def _tables(pieces: list[str], index: int) -> set[str]:
    """The names in a list of tables that begins here. What stands in a query within it is found where that begins."""
    found: set[str] = set()
    is_expected, depth, query_depth = True, 0, 0
    while index < len(pieces):
        piece = pieces[index]
        word = piece.lower()
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
            if depth < 0:
                break
            query_depth = min(query_depth, depth)
        elif query_depth and depth >= query_depth:
            pass
        elif word in _READING_STARTS:
            query_depth = depth
            is_expected = False
        elif piece == ",":
            is_expected = True
        elif depth == 0 and word in _AFTER_TABLES:
            break
        elif is_expected and _is_name(piece) and word not in _NOT_YET_A_TABLE:
            name, index = _dotted(pieces, index)
            found.add(name)
            is_expected = False
            continue
        index += 1
    return found


def _dotted(pieces: list[str], index: int) -> tuple[str, int]:
    parts = [_unquoted(pieces[index])]
    index += 1
    while index + 1 < len(pieces) and pieces[index] == "." and _is_name(pieces[index + 1]):
        parts.append(_unquoted(pieces[index + 1]))
        index += 2
    return ".".join(parts), index


def _is_name(piece: str) -> bool:
    return piece[0].isalpha() or piece[0] in '_"`'


def _unquoted(piece: str) -> str:
    if piece[0] in '"`':
        piece = piece[1:-1]
        if not re.fullmatch(r"[A-Za-z0-9_ -]+", piece):
            _refuse("quotes a strange name")
    return piece.lower()


def _pieces(value: object) -> list[str]:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS or not value.isascii():
        _refuse(f"is no text of at most {MAX_CHARACTERS} ASCII characters")
    pieces, index = [], 0
    while index < len(value):
        match = _PIECE.match(value, index)
        if not match:
            _refuse("has a comment, a backslash, or a character that databases read differently")
        index = match.end()
        if not match[0].isspace():
            pieces.append(match[0])
    while pieces and pieces[-1] == ";":
        pieces.pop()
    if not pieces or ";" in pieces:
        _refuse("is not exactly one statement")
    for before, name, after in zip(["", *pieces], pieces, pieces[1:], strict=False):
        is_call = after == "(" and _is_name(name) and before.lower() != "into"
        if is_call and name.lower() not in _MAY_STAND_BEFORE_A_PARENTHESIS:
            _refuse(f"calls {name[:40]}, which is not known to do nothing but compute")
    return pieces


def _refuse(what: str) -> NoReturn:
    raise Refused(Reason.ARGUMENT_MALFORMED, f"the SQL {what}")
