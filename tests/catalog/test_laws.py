"""Laws of the look-up, over random catalogs: never a choice, and no other operation than an upstream would serve."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.catalog.http import HttpCatalog
from authz.core.errors import Unusable
from authz.core.hop import Hop
from authz.core.reasons import Reason
from authz.core.request import Request
from tests.support.catalogs import Entry, catalog_of, entry, request
from tests.support.refusals import outcome
from tests.support.upstreams import readings


def found(catalog: HttpCatalog, hop: Request) -> Reason | str:
    """The name of the action that the request is, or why it is none."""
    result = outcome(partial(catalog.classify, hop))
    return result.operation.action if isinstance(result, Hop) else result


# Random catalogs: few segments, so that they overlap often. `None` is a parameter.
Shape = tuple[tuple[str | None, ...], bool]
shapes = st.tuples(
    st.lists(st.sampled_from(["a", "b", "me", "a:b", None, None]), max_size=4).map(tuple),
    st.sampled_from([False, False, True]),
).filter(lambda shape: shape[0] or shape[1])


def text_of_shape(shape: Shape) -> str:
    """The template of a shape."""
    literals, ends_with_slash = shape
    path = "".join(f"/{{p{index}}}" if each is None else f"/{each}" for index, each in enumerate(literals))
    return path + ("/" if ends_with_slash else "")


def entries_of(described: Iterable[tuple[str, Shape]]) -> list[Entry]:
    """Routes of the catalog file, each with an action of its own."""
    return [
        entry(text_of_shape(shape), method=method, action=f"crm.r{index}")
        for index, (method, shape) in enumerate(described)
    ]


def outranks(one: Shape, other: Shape) -> bool:
    """Whether, wherever the two differ, the first has the literal."""
    return all(mine == its or its is None for mine, its in zip(one[0], other[0], strict=True))


def may_stand_together(one: Shape, other: Shape) -> bool:
    """The rule for two routes of one method, said plainly, pair by pair."""
    if len(one[0]) != len(other[0]):
        return True
    if any(None not in (mine, its) and mine != its for mine, its in zip(one[0], other[0], strict=True)):
        return True
    if one[0] == other[0]:
        return one[1] != other[1]
    return outranks(one, other) or outranks(other, one)


def matches(literals: tuple[str | None, ...], segments: Sequence[str]) -> bool:
    """Whether a path of these segments is of this shape, its end aside."""
    return len(literals) == len(segments) and all(
        segment if literal is None else literal == segment for literal, segment in zip(literals, segments, strict=True)
    )


def reference(described: list[tuple[str, Shape]], method: str, path: str) -> Reason | str:
    """What a path without any encoding is, found by looking at every route."""
    segments, ends_with_slash = path[1:].split("/"), path.endswith("/")
    segments = segments[:-1] if ends_with_slash else segments
    alike = [
        (shape, f"crm.r{index}")
        for index, (its_method, shape) in enumerate(described)
        if its_method == method and matches(shape[0], segments)
    ]
    exact = [each for each in alike if each[0][1] == ends_with_slash]
    if not exact:
        return Reason.ACTION_UNKNOWN
    best = [each for each in exact if all(outranks(each[0], other[0]) for other in exact)]
    assert len(best) == 1, "at most one template is the most specific"
    if any(not outranks(best[0][0], other[0]) for other in alike):
        return Reason.PATH_AMBIGUOUS  # an upstream that ignores the slash serves a more specific route
    return best[0][1]


methods = st.sampled_from(["GET", "GET", "POST"])


@settings(max_examples=150, deadline=None)
@given(described=st.lists(st.tuples(methods, shapes), min_size=1, max_size=6))
def test_a_catalog_is_accepted_exactly_if_there_is_never_a_choice(described: list[tuple[str, Shape]]) -> None:
    """Of any two routes that could match one path, one is the more specific wherever they differ; else: refused."""
    clear = all(
        one[0] != other[0] or may_stand_together(one[1], other[1])
        for index, one in enumerate(described)
        for other in described[:index]
    )
    try:
        catalog_of(*entries_of(described))
    except Unusable:
        assert not clear
    else:
        assert clear


def accepted(described: list[tuple[str, Shape]]) -> list[tuple[str, Shape]]:
    """Those routes, in order, that may stand beside the ones before them."""
    kept: list[tuple[str, Shape]] = []
    for method, shape in described:
        if all(method != its_method or may_stand_together(shape, its) for its_method, its in kept):
            kept.append((method, shape))
    return kept


catalogs = st.lists(st.tuples(methods, shapes), min_size=1, max_size=12).map(accepted)
PLAIN_PATHS = [
    "/" + "/".join(segments) + end
    for length in range(4)
    for segments in product(["a", "b", "me", "a:b", "zz"], repeat=length)
    for end in ("", "/")
    if segments or not end
]


@settings(max_examples=100, deadline=None)
@given(described=catalogs)
def test_the_walk_agrees_with_looking_at_every_route(described: list[tuple[str, Shape]]) -> None:
    """In random catalogs at most one route is the most specific for a path, and it is the one that is found."""
    catalog = catalog_of(*entries_of(described))
    for path in PLAIN_PATHS:
        assert reference(described, "GET", path) == found(catalog, request(path))


SPELLINGS = (
    "a", "b", "me", "a:b", "A", "Me", "a.", ".a", "a%20", "%20me", "a%3Ab", "A%3ab", "%EF%BD%81", "zz", "%61", "..", "",
    "%2e", "a;x", "..;", "a%2fb", "a\\b", "%2561",
)  # fmt: skip
HOSTILE_PATHS = {
    path: readings(path)
    for segments in [*product(SPELLINGS, repeat=1), *product(SPELLINGS, repeat=2), *product(SPELLINGS[:6], repeat=3)]
    for path in ("/" + "/".join(segments), "/" + "/".join(segments) + "/")
}


@settings(max_examples=60, deadline=None)
@given(described=catalogs)
def test_no_upstream_serves_another_operation_than_the_one_decided_on(described: list[tuple[str, Shape]]) -> None:
    """Whatever an upstream decodes, folds, trims, drops, merges or resolves, an accepted path is the same operation."""
    catalog = catalog_of(*entries_of(described))
    gets = [(shape, f"crm.r{index}") for index, (method, shape) in enumerate(described) if method == "GET"]
    for path, served in HOSTILE_PATHS.items():
        ours = found(catalog, request(path))
        if isinstance(ours, Reason):
            continue
        for segments in served:
            alike = [(shape, name) for shape, name in gets if matches(shape[0], segments)]
            best = [name for shape, name in alike if all(outranks(shape, other) for other, _ in alike)]
            assert not alike or ours in best, f"{path} may be served as {segments}: {best}"
