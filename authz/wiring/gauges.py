"""What the metrics tell of the sources of trust, beside the checks: is each up, what did it refuse, how old is it."""

import time
from collections.abc import Iterable, Mapping

from authz.core.errors import Refused, Unavailable
from authz.observe.gauges import Gauge
from authz.wiring.trust import Trust

_SOURCE = "authz.trust.source"
_NOTHING: Mapping[str, str] = {}
_Readings = Iterable[tuple[float, Mapping[str, str]]]


def trust_gauges(trust: Trust) -> tuple[Gauge, ...]:
    """Gauges of all that this configuration trusts. Sources are the Workload API's streams, and sets of files."""

    def up() -> _Readings:
        return [(float(each.is_up), {_SOURCE: each.name}) for each in trust.sources]

    def refusals() -> _Readings:
        return [(float(each.refusals), {_SOURCE: each.name}) for each in trust.sources]

    def domains() -> _Readings:
        try:
            return [(float(len(trust.bundles().by_trust_domain)), _NOTHING)]
        except Refused:
            return [(0.0, _NOTHING)]

    def svid_remaining() -> _Readings:
        try:
            return [(trust.own.current().expires_unix_seconds - time.time(), _NOTHING)]
        except Unavailable:
            return []

    return (
        Gauge("authz.trust.source.up", "1", "1 while a source of trust is in force as it stands, else 0.", up),
        Gauge("authz.trust.source.refusals", "{update}", "What a source told that could not be used.", refusals),
        Gauge("authz.trust.domains", "{trust_domain}", "Trust domains whose callers can be proven.", domains),
        Gauge("authz.svid.remaining", "s", "Until our own SVID expires.", svid_remaining),
    )
