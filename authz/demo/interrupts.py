"""Interrupts: SIGINT and SIGTERM become one KeyboardInterrupt, but never between starting a child and knowing it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, a signal interrupts the main thread, except in a `held` block; after `ignore`, no more at all.

    Only the main thread can enter it.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._holders = 0
        self._pending = False
        self._ignored = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal cuts in two; one that came meanwhile interrupts at its end."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
        if self._pending and not self._holders:
            self._pending = False
            self._interrupt()

    def ignore(self) -> None:
        """From here on signals change nothing: what is being ended is ended whole."""
        self._ignored = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's signature
        if self._holders:
            self._pending = True
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        if not self._ignored:
            raise KeyboardInterrupt
