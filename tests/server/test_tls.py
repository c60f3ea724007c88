"""When our port begins to show a new SVID: soon, and never while another handshake is just beginning."""

from collections.abc import Callable

from authz.core.errors import Unavailable
from authz.server.tls import LONGEST_OUTDATED_SECONDS, PAUSE_SECONDS, QUIET_SECONDS, Shown, TlsMaterial

OLD, NEW, NEWER = (TlsMaterial(name, b"key", b"roots") for name in (b"old", b"new", b"newer"))


class Port:
    """A port whose handshakes ask at times that the test says."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()
        self.source: Callable[[], TlsMaterial] = lambda: OLD
        self.shown = Shown(self._tell, lambda: self.now, self.slept.append)

    def handshake(self, *, after: float) -> TlsMaterial | None:
        """What a handshake is told so many seconds after the last one."""
        self.now += after
        return self.shown.renewed()

    def _tell(self) -> TlsMaterial:
        return self.source()


def test_what_has_not_changed_is_not_replaced() -> None:
    """However long ago, and however often: grpc keeps what it has."""
    port = Port()
    assert [port.handshake(after=after) for after in (0, 0, 100, 0, LONGEST_OUTDATED_SECONDS)] == [None] * 5


def test_the_first_handshake_after_a_quiet_moment_shows_the_new() -> None:
    """Where handshakes are rare, a new SVID is shown at once, and waited for by nobody."""
    port = Port()
    port.source = lambda: NEW
    assert port.handshake(after=QUIET_SECONDS) == NEW
    assert port.handshake(after=QUIET_SECONDS) is None
    assert not port.slept


def test_while_handshakes_begin_the_old_is_shown_on() -> None:
    """A handshake right behind another one replaces nothing; the next after a quiet moment does."""
    port = Port()
    port.handshake(after=10)
    port.source = lambda: NEW
    assert port.handshake(after=QUIET_SECONDS / 2) is None
    assert port.handshake(after=QUIET_SECONDS / 2) is None
    assert port.handshake(after=QUIET_SECONDS) == NEW
    assert not port.slept


def test_without_a_quiet_moment_the_new_is_shown_all_the_same() -> None:
    """Under handshakes without end one of them waits a little, and shows it within the declared time."""
    port = Port()
    port.handshake(after=10)
    port.source = lambda: NEW
    step, told = QUIET_SECONDS / 2, list[TlsMaterial | None]()
    while not any(told):
        told.append(port.handshake(after=step))
    assert told[-1] == NEW
    assert (len(told) - 2) * step <= LONGEST_OUTDATED_SECONDS
    assert port.slept == [PAUSE_SECONDS]


def test_each_change_has_its_own_time() -> None:
    """A change that is taken back, or replaced, does not shorten the patience with the next."""
    port = Port()
    port.handshake(after=10)
    port.source = lambda: NEW
    assert port.handshake(after=0) is None
    port.source = lambda: OLD
    assert port.handshake(after=LONGEST_OUTDATED_SECONDS) is None
    port.source = lambda: NEWER
    assert port.handshake(after=0) is None
    assert port.handshake(after=QUIET_SECONDS) == NEWER


def test_where_nothing_counts_the_last_is_shown_on() -> None:
    """A source that has nothing does not fail the handshake; who may ask is decided at the check."""
    port = Port()

    def nothing() -> TlsMaterial:
        raise Unavailable("there is no SVID of our own")

    port.source = nothing
    assert port.handshake(after=QUIET_SECONDS) is None
    port.source = lambda: NEW
    assert port.handshake(after=QUIET_SECONDS) == NEW
