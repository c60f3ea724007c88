"""The result of a rule that was written for opa-envoy-plugin in, what it wants changed in the answer out.

Its words are the plugin's (envoyauth/response.go): `headers`, `http_status`, `body` and so on. Where one of them is
not as it must be, nothing of the result counts.
"""

from typing import TypeGuard

from authz.core.amendments import Amendments, Headers, NotAnAmendment

ALLOWED = "allowed"
"""The member by which such a result is known."""
MEMBERS = frozenset(
    {"headers", "response_headers_to_add", "request_headers_to_remove", "query_parameters_to_set"}
    | {"query_parameters_to_remove", "body", "http_status", "dynamic_metadata"}
)


def amendments_of(result: dict[str, object], guarded: frozenset[str]) -> Amendments:
    """What the result's members say; raises NotAnAmendment."""
    body, status = result.get("body"), result.get("http_status")
    metadata = result.get("dynamic_metadata", {})
    if body is not None and not isinstance(body, str):
        raise NotAnAmendment("body is no text")
    if status is not None and (not isinstance(status, int) or isinstance(status, bool)):
        raise NotAnAmendment("http_status is no whole number")
    if not isinstance(metadata, dict):
        raise NotAnAmendment("dynamic_metadata is no object")
    return Amendments.of(
        guarded=guarded,
        headers=_headers(result, "headers"),
        removed_headers=tuple(name.lower() for name in _texts(result, "request_headers_to_remove")),
        response_headers=_headers(result, "response_headers_to_add"),
        query_set=tuple(_parameters(result)),
        query_removed=_texts(result, "query_parameters_to_remove"),
        body=body,
        http_status=status,
        metadata=metadata,
    )


def _headers(result: dict[str, object], member: str) -> Headers:
    """One object or a list of them; each value a text or a list of texts. Names that differ in case are one."""
    found: dict[str, tuple[str, ...]] = {}
    given = result.get(member, {})
    for each in given if isinstance(given, list) else [given]:
        if not isinstance(each, dict):
            raise NotAnAmendment(f"{member} is neither an object nor a list of objects")
        for name, value in each.items():
            key = name.lower()
            found[key] = (*found.get(key, ()), *_one_or_more(value, f"{member}.{name}"))
    return tuple(found.items())


def _parameters(result: dict[str, object]) -> list[tuple[str, str]]:
    given = result.get("query_parameters_to_set", {})
    if not isinstance(given, dict):
        raise NotAnAmendment("query_parameters_to_set is no object")
    return [
        (name, text) for name, value in given.items() for text in _one_or_more(value, f"query_parameters_to_set.{name}")
    ]


def _one_or_more(value: object, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not _are_texts(values):
        raise NotAnAmendment(f"{where:.100} is neither a text nor a list of texts")
    return tuple(values)


def _texts(result: dict[str, object], member: str) -> tuple[str, ...]:
    given = result.get(member, [])
    if not _are_texts(given):
        raise NotAnAmendment(f"{member} is no list of texts")
    return tuple(given)


def _are_texts(values: object) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
