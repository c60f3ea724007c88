"""The demo over SPIRE: real SVIDs that are renewed every few seconds, a trust domain next door, and hops all the while.

Exit status: 0 where all hops were as expected, 1 where not (the logs are kept and named), 130 on Ctrl-C or SIGTERM.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from cryptography import x509
from rich.console import Console
from rich.text import Text

from authz.core.reasons import Reason
from authz.demo.agents import Answered, Outcome
from authz.demo.spire_authz import Errand
from authz.demo.spire_mesh import AGENT_IDS, AUDITOR, RESEARCH, SVID_SECONDS, SpireMesh

FAILED = 1
INTERRUPTED = 130
OK = 200

LOOKUP = Errand(agent_id=AGENT_IDS[RESEARCH], grant="read:crm.contacts")
AUDIT = Errand(agent_id=AGENT_IDS[AUDITOR], grant="read,write:crm.contacts", purpose="yearly audit")
_PATIENCE_SECONDS = 2.0 * SVID_SECONDS
_PAUSE_SECONDS = 0.1
_FETCH_EVERY_SECONDS = 5.0  # an agent's SVID of then has twenty seconds left


@dataclass(frozen=True, slots=True)
class Hop:
    """One attempt, and what must come of it: a 200, or authz's reason."""

    who: str
    errand: Errand
    expected: Reason | None = None
    method: str = "GET"

    @property
    def expectation(self) -> tuple[int, str]:
        """The status and the reason id that must come."""
        return (self.expected.http_status, self.expected.id) if self.expected else (OK, "")


STORY = (
    Hop(RESEARCH, LOOKUP),
    Hop(RESEARCH, LOOKUP, Reason.ACTION_NOT_GRANTED, method="PUT"),
    Hop(AUDITOR, AUDIT),
    Hop(AUDITOR, AUDIT, Reason.POLICY_PERMITS_NOTHING, method="PUT"),
    Hop(AUDITOR, LOOKUP, Reason.TASK_OF_ANOTHER_AGENT),
)


@dataclass
class Tally:
    """How many hops there were, and what was not as expected."""

    hops: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, hop: Hop, outcome: Outcome) -> bool:
        """Count the hop; whether it was as expected."""
        self.hops += 1
        came = (outcome.status, outcome.reason) if isinstance(outcome, Answered) else (0, outcome.why)
        if came != hop.expectation:
            self.faults.append(f"hop {self.hops}, {hop.method} by {hop.who}: {came}, expected {hop.expectation}")
        return came == hop.expectation


def play(console: Console) -> int:
    """Play the story and return the exit status; raises Unavailable where SPIRE or the mesh cannot be started."""
    started = time.perf_counter()
    _say(console, "starting two SPIRE servers and agents (example.org, partner.example), authz, a tool and its Envoy")
    try:
        with SpireMesh() as mesh:
            _say(console, f"all up after {time.perf_counter() - started:.1f} s, in {mesh.folder}")
            tally = Tally()
            _tell(console, mesh, tally)
            if tally.faults:
                mesh.keep()
                _say(console, "\n".join(["\nNot as expected:", *tally.faults, "The logs are kept:"]), "bold red")
                _say(console, "\n".join(map(str, mesh.logs)))
            _say(console, f"\ndemo: {tally.hops} hops, {tally.hops - len(tally.faults)} as expected")
    except KeyboardInterrupt:
        _say(console, "interrupted; everything that was started has been ended")
        return INTERRUPTED
    return FAILED if tally.faults else 0


def _tell(console: Console, mesh: SpireMesh, tally: Tally) -> None:
    _say(
        console, "\nA task grants and a policy permits, to agents of our own trust domain and of the partner's", "bold"
    )
    for hop in STORY:
        mesh.renew(hop.who)  # on a slow machine the first SVIDs have expired by now
        outcome = mesh.call(hop.who, hop.errand, hop.method)
        as_expected = tally.note(hop, outcome)
        status, reason = hop.expectation
        _say(
            console,
            f"{tally.hops:2} {AGENT_IDS[hop.who]:44} {hop.method} /contacts/7   {status} {reason}".rstrip(),
            "red" if not as_expected else "yellow" if hop.expected else "green",
        )
    _say(console, f"\nSVIDs live for {SVID_SECONDS} s: SPIRE renews them while hops go on", "bold")
    for what, shown in {"Envoy": mesh.shown_by_envoy, "authz": mesh.shown_by_authz}.items():
        hops = hop_until(mesh, tally, partial(has_changed, shown, shown().serial_number))
        _say(console, f"   {what} shows another certificate, after {hops} hops", "green")
    _say(console, "\nexample.org changes its authority: first it is told, then it signs", "bold")
    hops = change_authority(mesh, tally)
    _say(console, f"   Envoy and authz show certificates of the new authority, after {hops} hops", "green")


def change_authority(mesh: SpireMesh, tally: Tally) -> int:
    """Bring a new authority of example.org into use, while hops go on; returns how many there were."""
    shown = (mesh.shown_by_envoy, mesh.shown_by_authz)
    signers = {_signer(each()) for each in shown}
    known = mesh.authorities(RESEARCH)
    authority_id = mesh.home.prepare_authority()
    mesh.exchange_bundles()
    hops = hop_until(mesh, tally, lambda: mesh.authorities(RESEARCH) > known and mesh.authorities(AUDITOR) > known)
    mesh.home.activate_authority(authority_id)
    return hops + hop_until(mesh, tally, lambda: signers.isdisjoint(_signer(each()) for each in shown))


def hop_until(mesh: SpireMesh, tally: Tally, is_done: Callable[[], bool]) -> int:
    """Let both agents read, each with a fresh SVID every few seconds, until it is done; returns the number of hops."""
    before, fetch_at = tally.hops, time.monotonic()
    give_up = fetch_at + _PATIENCE_SECONDS
    for hop in _readers():
        if time.monotonic() >= fetch_at:
            mesh.renew(RESEARCH)
            mesh.renew(AUDITOR)
            if is_done():
                break
            if time.monotonic() > give_up:
                tally.faults.append(f"not renewed within {_PATIENCE_SECONDS:g} s")
                break
            fetch_at = time.monotonic() + _FETCH_EVERY_SECONDS
        tally.note(hop, mesh.call(hop.who, hop.errand))
        time.sleep(_PAUSE_SECONDS)
    return tally.hops - before


def has_changed(shown: Callable[[], x509.Certificate], serial_number: int) -> bool:
    """Whether another certificate is shown than the one of that serial number."""
    return shown().serial_number != serial_number


def _readers() -> Iterator[Hop]:
    while True:
        yield Hop(RESEARCH, LOOKUP)
        yield Hop(AUDITOR, AUDIT)


def _signer(certificate: x509.Certificate) -> bytes | None:
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def _say(console: Console, text: str, style: str = "") -> None:
    """A line as it is: no markup, no folding, so that what is not a terminal gets the same columns."""
    console.print(Text(text, style=style), soft_wrap=True)
