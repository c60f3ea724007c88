"""What the metrics tell of trust and of the rules, beside the checks: is each up, what was refused, how old is it."""

import math
import time
from collections.abc import Iterable, Mapping

from authz.core.errors import Refused, Unavailable
from authz.observe.gauges import Gauge
from authz.policy.bundle_source import BundleSource
from authz.policy.opa_client import OpaClient
from authz.wiring.rules import Reload, Rules
from authz.wiring.shadow import Shadow
from authz.wiring.trust import Trust

_SOURCE = "authz.trust.source"
_COUNTS = (
    ("cache.hits", "{answer}", "Answers of Cedar's policies that were remembered."),
    ("cache.misses", "{answer}", "Answers for which Cedar was asked."),
    ("cache.rows", "{row}", "Rows that are remembered."),
    ("cache.evictions", "{row}", "Rows that were forgotten to make room."),
    ("slow", "{question}", "Questions that rules in Rego took too long for."),
)
"""What policies count, one kind or the other, since they were taken into use."""
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


def rules_gauges(rules: Rules, reload: Reload, bundles: BundleSource | None = None) -> tuple[Gauge, ...]:
    """Gauges of the catalog and the policies in force, and of the bundles that these come from, if they do."""

    def up() -> _Readings:
        is_up = not reload.trouble and not (bundles and (bundles.trouble or bundles.is_over))
        return [(float(is_up), {"authz.policy.version": rules.version})]

    def refusals() -> _Readings:
        return [(float(reload.refusals + (bundles.refusals if bundles else 0)), _NOTHING)]

    def age() -> _Readings:
        return [(time.time() - rules.since_unix_seconds, {"authz.policy.version": rules.version})]

    return (
        Gauge(
            "authz.policy.up", "1", "1 while the files of policies and catalog can be used as they stand, else 0.", up
        ),
        Gauge("authz.policy.age", "s", "Since the policies and the catalog in force were taken into use.", age),
        Gauge("authz.policy.loads", "{load}", "Changes taken into use.", lambda: [(float(reload.loads), _NOTHING)]),
        Gauge("authz.policy.refusals", "{load}", "Changes refused.", refusals),
        *(_count_gauge(rules, *each) for each in _COUNTS),
        *(bundle_gauges(bundles) if bundles else ()),
    )


def _count_gauge(rules: Rules, name: str, unit: str, description: str) -> Gauge:
    def read() -> _Readings:
        counts = rules.counts
        return [(float(counts[name]), {"authz.policy.version": rules.version})] if name in counts else []

    return Gauge(f"authz.policy.{name}", unit, description, read)


def bundle_gauges(bundles: BundleSource) -> tuple[Gauge, ...]:
    """Gauges of the policy bundle in force."""

    def age() -> _Readings:
        return [(bundles.age_seconds, _NOTHING)] if math.isfinite(bundles.age_seconds) else []

    def remaining() -> _Readings:
        return [(bundles.remaining_seconds, _NOTHING)] if math.isfinite(bundles.remaining_seconds) else []

    return (
        Gauge("authz.policy.bundle.age", "s", "Since the bundle in force was last known to be what is published.", age),
        Gauge("authz.policy.bundle.remaining", "s", "Until the bundle in force expires, where it does.", remaining),
    )


def opa_gauges(client: OpaClient) -> tuple[Gauge, ...]:
    """Gauges of the OPA that decides hops."""

    def questions() -> _Readings:
        return [(float(count), {"authz.outcome": outcome}) for outcome, count in list(client.outcomes.items())]

    return (
        Gauge(
            "authz.policy.engine.up",
            "1",
            "1 while the policy engine answers: its last answer came.",
            lambda: [(float(client.is_up), _NOTHING)],
        ),
        Gauge("authz.policy.engine.questions", "{question}", "Questions by what became of them.", questions),
    )


def shadow_gauges(shadow: Shadow, reload: Reload) -> tuple[Gauge, ...]:
    """Gauges of the candidate policies."""

    def up() -> _Readings:
        is_up = bool(shadow.version) and not reload.trouble
        return [(float(is_up), {"authz.policy.version": shadow.version})]

    def compared() -> _Readings:
        return [
            (float(count), {"authz.decision": pair.live, "authz.policy.shadow.decision": pair.candidate})
            for pair, count in list(shadow.compared.items())
        ]

    return (
        Gauge("authz.policy.shadow.up", "1", "1 while the candidate can be used as its files stand, else 0.", up),
        Gauge("authz.policy.shadow.compared", "{hop}", "Hops that this candidate was asked about too.", compared),
        Gauge(
            "authz.policy.shadow.left_out",
            "{hop}",
            "Hops that no candidate was asked about.",
            lambda: [(float(shadow.left_out), _NOTHING)],
        ),
    )
