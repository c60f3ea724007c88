"""Rules in; their engine for the thread that asks, out. An engine must be used and freed by the thread that made it.

So it is kept by that thread, and not by the rules: these may be freed anywhere, and each thread frees the engines of
rules that are gone when it makes the next one.
"""

import threading
import weakref
from collections.abc import Iterator

import regorus

ASKING = "data.authz_asking_.answer"
"""A rule of ours that says what the rule that decides says, as several may make that up: `p.allow` and `p.deny`."""


class Rules:
    """The files of a set, its data, and the rule that decides."""

    def __init__(self, files: tuple[tuple[str, str], ...], data: str, decision: str) -> None:
        """`files` are names and texts."""
        self._files, self._data, self._decision = files, data, decision
        self._is_over = False

    def engine(self) -> regorus.Engine:
        """The engine of this thread; raises what the engine raises."""
        kept = _here.engines.get(id(self))
        if kept is not None and kept[0]() is self:  # else an id of rules that are gone
            return kept[1]
        *_, engine = self.make()
        return self.keep(engine)

    def keep(self, engine: regorus.Engine) -> regorus.Engine:
        """Have this engine, which `make` has made, for this thread."""
        _here.free_those_that_are_over()
        _here.engines[id(self)] = weakref.ref(self), engine
        return engine

    def forget(self) -> None:
        """Free the engine of this thread: it may have been left in the middle of something."""
        _here.engines.pop(id(self), None)

    def end(self) -> None:
        """Nobody asks any more: free the engine of this thread, and have the others free theirs."""
        self._is_over = True
        self.forget()

    @property
    def is_over(self) -> bool:
        """Whether nobody asks any more."""
        return self._is_over

    def make(self) -> Iterator[regorus.Engine]:
        """A new engine after each portion of its making; it is whole after the last."""
        engine = regorus.Engine()
        for name, text in self._files:
            engine.add_policy(name, text)
            yield engine
        engine.add_policy("", asking(self._decision))
        engine.add_data_json(self._data)
        yield engine
        engine.set_input_json("{}")
        engine.eval_query("1")  # it looks through all rules before the first question
        yield engine


class _Engines(threading.local):
    def __init__(self) -> None:
        self.engines = dict[int, tuple[weakref.ref[Rules], regorus.Engine]]()

    def free_those_that_are_over(self) -> None:
        for key, (rules, _) in list(self.engines.items()):
            of = rules()
            if of is None or of.is_over:
                del self.engines[key]


_here = _Engines()


def asking(decision: str) -> str:
    """The module of ASKING."""
    _, package, rule = ASKING.split(".")
    return f"package {package}\n\n{rule} := {decision}\n"
