"""The built-in functions that Rego in process may call, and what stands against the others.

A built-in is in the table if it gave OPA's result in every compliance case of OPA's that names it, and if neither its
time nor the size of its result can be driven far by what it is given. Every other is refused by name when policies are
loaded: one that is missing, or that gives nothing where OPA gives something, would make `not` and `deny` rules open.
"""

import re
from collections.abc import Callable, Mapping

_BY_ARGUMENTS: Mapping[int, str] = {
    1: """
        abs array.reverse base64.decode base64.encode base64.is_valid base64url.decode base64url.encode
        base64url.encode_no_pad bits.negate ceil count floor glob.quote_meta hex.decode hex.encode intersection
        is_array is_boolean is_null is_number is_object is_set is_string json.marshal lower max min net.cidr_is_valid
        object.keys object.union_n product regex.is_valid round sort strings.reverse sum time.clock time.date
        time.format time.parse_duration_ns time.parse_rfc3339_ns time.weekday to_number trim_space type_name union
        upper urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object
    """,
    2: """
        array.concat bits.and bits.or bits.rsh bits.xor concat contains endswith format_int indexof indexof_n
        json.filter json.marshal_with_options json.remove net.cidr_contains object.filter object.remove object.subset
        object.union regex.match regex.split semver.compare split sprintf startswith strings.any_prefix_match
        strings.any_suffix_match time.parse_ns trim trim_left trim_prefix trim_right trim_suffix
    """,
    3: """
        array.slice glob.match object.get regex.find_all_string_submatch_n regex.find_n regex.replace replace substring
    """,
    4: """
        time.add_date
    """,
}
TESTED: Mapping[str, int] = {name: number for number, names in _BY_ARGUMENTS.items() for name in names.split()}
"""Those that may be called, and how many arguments each takes. See `tests/policy/test_rego_compliance.py`."""

_CLOCK = "Compare input.time.utc_hour and input.time.utc_weekday: a question has one moment, and can be asked again."
_CHANCE = "A decision must be the same when it is asked again: replay and audit rest on that."
_WORLD = "Policies see input and data alone. Put what they need into data.json."
_LONG = "Its time or its result grows with what it is given; say what is meant with `some` over a list that is there."
_CLOSE = "It does not do what OPA's does in each case. Say it with other built-ins."
_REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("time.now_ns", "opa.runtime"), _CLOCK),
    **dict.fromkeys(("rand.intn", "uuid.rfc4122"), _CHANCE),
    **dict.fromkeys(("http.send", "net.lookup_ip_addr"), _WORLD),
    **dict.fromkeys(("print", "trace"), "What it writes nobody reads; try the policies with authz policy test."),
    **dict.fromkeys(
        (
            *("numbers.range", "numbers.range_step", "walk", "graph.reachable", "graph.reachable_paths"),
            *("net.cidr_expand", "bits.lsh", "units.parse", "units.parse_bytes", "yaml.unmarshal"),
        ),
        _LONG,
    ),
    **dict.fromkeys(
        ("json.is_valid", "json.unmarshal", "semver.is_valid", "strings.count", "strings.replace_n", "uuid.parse"),
        _CLOSE,
    ),
}
_KNOWN_FAMILIES = frozenset({"crypto", "graphql", "io", "json", "net", "providers", "rego", "strings", "uri", "yaml"})
_OTHER_FAMILY = "It is not among those that were tested for evaluation in process. Ask an OPA: policy.engine: opa."
_UNKNOWN = "Correct the name, or write the function."

_MOST_OF_A_PATTERN = 200
_MOST_REPEATED = 100
_DIGITS = 9
_REPEATED = re.compile(r"\{(\d*),?(\d*)\}")
_FORMAT = re.compile(r"(?:[^%]|%[sdv%])*")


def remedy_for(name: str) -> str:
    """What to do instead of calling this, which is not in the table."""
    return _REMEDIES.get(name) or (_OTHER_FAMILY if name.partition(".")[0] in _KNOWN_FAMILIES else _UNKNOWN)


def _fault_of_regex(pattern: str) -> str:
    repeated = 1
    for least, most in _REPEATED.findall(pattern):
        repeated *= max(1, int(least[:_DIGITS] or 0), int(most[:_DIGITS] or 0))
    if len(pattern) > _MOST_OF_A_PATTERN:
        return f"a pattern of more than {_MOST_OF_A_PATTERN} characters"
    return f"a pattern that repeats more than {_MOST_REPEATED} times by number" if repeated > _MOST_REPEATED else ""


def _fault_of_glob(pattern: str) -> str:
    if "{" in pattern:
        return "a pattern with alternatives in braces"
    return f"a pattern of more than {_MOST_OF_A_PATTERN} characters" if len(pattern) > _MOST_OF_A_PATTERN else ""


def _fault_of_format(text: str) -> str:
    return "" if _FORMAT.fullmatch(text) else "a verb other than %s, %d and %v, or with a width"


WRITTEN_OUT: Mapping[str, tuple[int, Callable[[str], str]]] = {
    "glob.match": (0, _fault_of_glob),
    "regex.find_all_string_submatch_n": (0, _fault_of_regex),
    "regex.find_n": (0, _fault_of_regex),
    "regex.is_valid": (0, _fault_of_regex),
    "regex.match": (0, _fault_of_regex),
    "regex.replace": (1, _fault_of_regex),
    "regex.split": (0, _fault_of_regex),
    "sprintf": (0, _fault_of_format),
}
"""Arguments that must stand in the policy as a text, by position, and what is wrong with such a text, if anything.

Patterns are compiled at every call: a short one in 20 us, and `((a{0,100}){0,100}){0,9}` in half a minute.
"""

NEVER_GROW = frozenset(
    {
        *("abs", "ceil", "count", "floor", "indexof", "max", "min", "round", "array.reverse", "array.slice", "lower"),
        *("object.get", "object.keys", "sort", "split", "strings.reverse", "substring", "trim", "trim_left"),
        *("trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper"),
    }
)
"""Those whose result is no larger than what they are given: it has no more members, or no more characters."""

STEPS: Mapping[str, int] = {
    **{name: 60 for name in WRITTEN_OUT if name.startswith("regex.")},
    "glob.match": 200,
}
"""What one call costs, in steps of about half a microsecond, where it is more than a step."""
