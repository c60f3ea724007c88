"""What rules in Rego come to for a query, and how far each of them got: from an engine that keeps account of lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import regorus

from authz.core.decision import Verdict
from authz.core.query import Query
from authz.policy.rego import RegoPolicy, RegoRule

_MOST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Stop:
    """A rule of which not all lines were reached, and the last that was: it or one before it does not hold."""

    rule: RegoRule
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class RegoAccount:
    """The values of the rules that a decision depends on, in JSON, by their paths; and the rules that stopped."""

    values: tuple[tuple[str, str], ...]
    stops: tuple[Stop, ...]


@dataclass(slots=True)
class RegoCoverage:
    """A Policy that keeps account of the lines that it has reached. For one thread, and for tools alone: it is slow."""

    policy: RegoPolicy
    _engine: regorus.Engine = field(init=False)

    def __post_init__(self) -> None:
        """Make the engine."""
        self._engine = self.policy.engine()
        self._engine.set_enable_coverage(True)

    def decide(self, query: Query) -> Verdict:
        """As the policy does; then once more, for the account."""
        verdict = self.policy.decide(query)
        if not verdict.errors:
            self.policy.value(self._engine, self.policy.input.question(query))
        return verdict

    def fired(self) -> frozenset[str]:
        """The rules that some query led through to their last lines."""
        return frozenset(rule.id for rule, _, missed in self._lines() if not missed)

    def account(self, query: Query) -> RegoAccount:
        """Of one query alone, which the engine must not err about."""
        self._engine.clear_coverage_data()
        self.policy.value(self._engine, self.policy.input.question(query))
        paths = dict.fromkeys(rule.path for rule in self.policy.rules if not rule.is_function)
        values = tuple((path, self._value(path)) for path in paths)
        return RegoAccount(values, tuple(self._stops()))

    def _value(self, path: str) -> str:
        try:
            value = json.dumps(json.loads(self._engine.eval_rule_as_json(path)))
        except RuntimeError:  # a rule of which only parts can be asked
            return "not told"
        return value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "..."

    def _stops(self) -> Iterator[Stop]:
        texts = {name: text.splitlines() for name, text in self.policy.files}
        for rule, reached, missed in self._lines():
            if missed and reached:
                line = max(reached)
                yield Stop(rule, line, texts[str(rule.place.file)][line - 1].strip())

    def _lines(self) -> Iterator[tuple[RegoRule, set[int], set[int]]]:
        """Each rule, with the lines of it that were reached and those that were not."""
        report = json.loads(self._engine.get_coverage_report_as_json())
        files = {each["path"]: (set(each["covered"]), set(each["not_covered"])) for each in report["files"]}
        for rule in self.policy.rules:
            covered, missed = files.get(str(rule.place.file), (set(), set()))
            lines = set(range(rule.place.line, rule.last_line + 1))
            yield rule, covered & lines, missed & lines
