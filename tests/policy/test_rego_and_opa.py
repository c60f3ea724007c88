"""The engine in process and a real OPA are asked the same, and must say the same."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.core.decision import Allow, Decision, conclude
from authz.core.query import Query
from authz.policy.opa import verdict_of
from tests.policy import rego_examples
from tests.policy.random_policies import queries
from tests.support.opa import running_opa

QUESTIONS = 300
"""For each set."""


class Opa:
    """A connection that is kept open."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)

    def decide(self, path: str, query: Query) -> Decision:
        """What OPA decides by the rule there."""
        question = b'{"input":%b}' % rego_examples.WORDS.question(query)
        self._connection.request("POST", path, question, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return conclude(verdict_of(response.status, response.read(), rego_examples.GUARDED))


@pytest.fixture(scope="module")
def opa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:
    """An OPA that has each of the sets as a package of its own."""
    folder = tmp_path_factory.mktemp("opa")
    for number, name in enumerate(rego_examples.SETS):
        for part, text in enumerate(rego_examples.texts_of(name)):
            own = text.replace("package authz", f"package set{number}").replace("data.authz.", f"data.set{number}.")
            (folder / f"{number}-{part}.rego").write_text(own)
    (folder / "data.json").write_text(json.dumps(rego_examples.DATA))
    with running_opa(folder) as address:
        yield Opa(address)


def same(ours: Decision, theirs: Decision) -> bool:
    """Whether they are one to whoever asked."""
    return (ours.word, ours.policies) == (theirs.word, theirs.policies)


@pytest.mark.parametrize("number", range(len(rego_examples.SETS)), ids=list(rego_examples.SETS))
def test_both_decide_alike(opa: Opa, number: int) -> None:
    """The same word by the same policies; only where ours errs, and so denies, may OPA find a value without it."""
    name = list(rego_examples.SETS)[number]
    policy = rego_examples.unexamined(*rego_examples.texts_of(name), data=rego_examples.DATA)
    words = Counter[str]()

    @given(st.lists(queries, min_size=10, max_size=10))
    @settings(max_examples=QUESTIONS // 10, suppress_health_check=list(HealthCheck))
    def check(asked: list[Query]) -> None:
        for query in asked:
            verdict = policy.decide(query)
            ours, theirs = conclude(verdict), opa.decide(f"/v1/data/set{number}/decision", query)
            words["error" if verdict.errors else ours.word] += 1
            assert verdict.errors or same(ours, theirs), (query, ours, theirs)
            assert not (verdict.errors and isinstance(ours, Allow))

    check()
    assert words["error"] <= sum(words.values()) // 2, words
    assert words.keys() - {"error"}, words
