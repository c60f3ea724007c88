"""The policy engine that decides hops, where it is another than Cedar."""

from pathlib import Path

from authz.config import PolicySettings, Settings
from authz.core.errors import Place, Problem, Unusable
from authz.policy.opa import OpaPolicy
from authz.policy.opa_client import Breaker, OpaClient


def make_opa(settings: PolicySettings) -> OpaPolicy | None:
    """OPA, where the settings have it decide; else none."""
    if settings.opa is None:
        return None
    opa = settings.opa
    breaker = Breaker(opa.max_failures, opa.rest_seconds)
    return OpaPolicy(OpaClient(opa.url, opa.timeout_seconds, breaker, opa.authorities_file), settings.groups)


def must_decide_by_cedar(settings: Settings, config_file: Path) -> None:
    """Cedar decides hops, so a tool may say how; raises Unusable."""
    if settings.policy.engine != "cedar":
        what = f"policy.engine is {settings.policy.engine}: its policies decide hops, and this tool knows Cedar's alone"
        remedy = "Use the tools of OPA (opa test, opa eval) and its decision log, by the decision id in the audit log."
        raise Unusable(Problem(Place(config_file), what, remedy))
