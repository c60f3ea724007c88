"""Query in, Verdict out: rules in Rego, evaluated by regorus in our own process.

Nothing is remembered, so an answer is always the fresh one. The engine holds the interpreter while it evaluates; what
could take it long was refused when the rules were loaded, and what is slow all the same is asked no more for a while.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import regorus

from authz.core.decision import Verdict
from authz.core.errors import Place, Problem, Unavailable
from authz.core.query import Query
from authz.policy.breaker import Breaker
from authz.policy.rego_engines import ASKING, Rules
from authz.policy.rego_input import RegoInput
from authz.policy.result import failed, undefined, verdict_of_result

SLOW_SECONDS = 0.05
"""Of the thread's own time. So many questions in a row that took longer, and the rules are left alone for a while."""
_MAX_SLOW = 3
_REST_SECONDS = 1.0
_UNDEFINED = "<undefined>"
"""How the engine spells that a rule has no value. A text, too, is no decision: both deny."""

os.environ.setdefault("RUST_LIB_BACKTRACE", "0")  # else an error collects its stack, the first time for 50 ms

_log = logging.getLogger("authz.rego")


@dataclass(frozen=True, slots=True)
class RegoRule:
    """A rule as it is written."""

    path: str  # such as data.authz.deny
    place: Place
    last_line: int
    is_function: bool

    @property
    def id(self) -> str:
        """Its name for people, with its line, as several rules may make up one value."""
        return f"{self.path}:{self.place.line}"


@dataclass(slots=True, kw_only=True, eq=False)
class RegoPolicy:
    """Rules, and what was found when they were examined. `rego_source` makes them.

    Threads that take turns may ask: each has an engine of its own.
    """

    version: str
    files: tuple[tuple[str, str], ...]  # names and texts
    data: str
    decision: str  # the rule that decides
    rules: tuple[RegoRule, ...]
    reads: tuple[tuple[str, ...], ...]  # the places of the question that the decision depends on
    input: RegoInput
    warnings: tuple[Problem, ...]  # what was hardly meant, but can be asked
    guarded: frozenset[str]  # headers that no policy changes
    slow: int = 0
    """Questions that took longer than SLOW_SECONDS."""
    _asked: str = field(init=False)
    _engines: Rules = field(init=False)
    _breaker: Breaker = field(default_factory=lambda: Breaker(_MAX_SLOW, _REST_SECONDS, who="rules in Rego"))

    def __post_init__(self) -> None:
        """Asking the rule itself is quicker, where it is one."""
        self._asked = self.decision if any(rule.path == self.decision for rule in self.rules) else ASKING
        self._engines = Rules(self.files, self.data, self.decision)

    @property
    def counts(self) -> dict[str, int]:
        """Questions that took too long."""
        return {"slow": self.slow}

    @property
    def ids(self) -> frozenset[str]:
        """The names of the rules."""
        return frozenset(rule.id for rule in self.rules)

    def make_ready(self) -> Iterator[None]:
        """Make the engine of this thread, a file at a time, so that the first question need not wait for it."""
        engine = None
        for engine in self._engines.make():  # noqa: B007  the last is the whole one
            yield
        if engine is not None:
            self._engines.keep(engine)

    def engine(self) -> regorus.Engine:
        """An engine of which nobody else knows, for whoever is in this thread."""
        *_, engine = self._engines.make()
        return engine

    def leave(self) -> None:
        """Let the engine of this thread go, and have other threads do so."""
        self._engines.end()

    def let_go(self, breathe: Callable[[], None]) -> None:
        """There is nothing that would take long to free."""

    def decide(self, query: Query) -> Verdict:
        """The verdict that the rules come to; whatever goes wrong is an error in it. Refuses as Question does."""
        if fault := query.fault():
            return failed(f"no policy can be asked: {fault}", self.version)
        question = self.input.question(query)
        if fault := self.input.fault(question, query):
            return failed(f"no policy can be asked: {fault}", self.version)
        try:
            self._breaker.must_let_through()
            return self._verdict(question)
        except (KeyboardInterrupt, SystemExit):
            raise
        except Unavailable as error:
            return failed(str(error), self.version)
        except BaseException as error:  # noqa: BLE001  a panic in the engine is no Exception, and must deny too
            if not isinstance(error, RuntimeError):
                self._engines.forget()
            return failed(_plain(error), self.version)

    def value(self, engine: regorus.Engine, question: bytes) -> object:
        """What the rule that decides says, `<undefined>` where it says nothing; raises what the engine raises."""
        engine.set_input_json(question.decode())
        return json.loads(engine.eval_rule_as_json(self._asked))

    def _verdict(self, question: bytes) -> Verdict:
        engine = self._engines.engine()
        began = time.thread_time()
        try:
            value = self.value(engine, question)
        finally:
            self._watch(time.thread_time() - began)
        return undefined(self.version) if value == _UNDEFINED else verdict_of_result(value, self.version, self.guarded)

    def _watch(self, seconds: float) -> None:
        if seconds <= SLOW_SECONDS:
            self._breaker.succeeded()
            return
        self.slow += 1
        self._breaker.failed()
        _log.warning("rules %.12s took %.0f ms for a question", self.version, seconds * 1000)


def _plain(error: BaseException) -> str:
    """What the engine says, on one line, without the stack that it adds."""
    text = str(error).partition("Stack backtrace:")[0]
    return " ".join(f"{type(error).__name__}: {text}".split())[:500]
