"""The policy engine that decides hops, where it is another than Cedar."""

from pathlib import Path

from authz.config import OpaSettings, Settings
from authz.core.errors import Place, Problem, Unusable
from authz.policy.opa import OpaPolicy
from authz.policy.opa_client import Breaker, OpaClient, OpaReach
from authz.policy.plugin_question import PluginQuestion
from authz.policy.question import FactsQuestion, Question
from authz.ports import Decode
from authz.tasks.token import HEADER as TOKEN_HEADER
from authz.wire.decode import decode, decode_with_attributes


def make_opa(settings: Settings) -> OpaPolicy | None:
    """OPA, where the settings have it decide; else none."""
    opa = settings.policy.opa
    if opa is None:
        return None
    breaker = Breaker(opa.max_failures, opa.rest_seconds)
    return OpaPolicy(
        OpaClient(opa_reach(opa), opa.timeout_seconds, breaker), make_question(settings), guarded_headers(settings)
    )


def opa_reach(opa: OpaSettings) -> OpaReach:
    """Where it is and what is shown to it; raises Unusable where a file cannot be used."""
    files = opa.authorities_file, opa.certificate_file, opa.private_key_file, opa.token_file
    reach = OpaReach(opa.url, opa.socket, *files)
    try:
        reach.connection(opa.timeout_seconds)
        reach.headers()
    except OSError as error:
        named = next((file for file in files if file), Path(opa.url))
        remedy = "Give a certificate with its key, and authorities, in PEM; a token file's first line is the token."
        raise Unusable(Problem(Place(named), f"policy.opa cannot be used: {error}", remedy)) from error
    return reach


def make_question(settings: Settings) -> Question:
    """How policies in Rego are asked."""
    if settings.policy.input == "authz":
        return FactsQuestion(settings.policy.groups)
    return PluginQuestion(settings.policy.groups, credential_headers(settings))


def decode_for(settings: Settings) -> Decode:
    """The reading of a CheckRequest that holds what policies are to see."""
    return decode if settings.policy.input == "authz" else decode_with_attributes


def guarded_headers(settings: Settings) -> frozenset[str]:
    """Those that no policy changes, for they say who calls and on whose errand."""
    return credential_headers(settings) | {settings.tasks.header}


def credential_headers(settings: Settings) -> frozenset[str]:
    """Those whose values prove something to us, and so are shown to nobody else."""
    jwt = settings.identity.jwt
    return frozenset({TOKEN_HEADER, *([jwt.header] if jwt else [])})


def must_decide_by_cedar(settings: Settings, config_file: Path) -> None:
    """Cedar decides hops, so a tool may say how; raises Unusable."""
    if settings.policy.engine != "cedar":
        what = f"policy.engine is {settings.policy.engine}: its policies decide hops, and this tool knows Cedar's alone"
        remedy = "Use the tools of OPA (opa test, opa eval) and its decision log, by the decision id in the audit log."
        raise Unusable(Problem(Place(config_file), what, remedy))
