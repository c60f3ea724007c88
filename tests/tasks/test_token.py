"""Txn-Tokens: what is issued is read back as the same task; what differs in one thing is refused for it."""

import base64
import json
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from authz.core.errors import Refused, Unavailable
from authz.core.hop import Sensitivity
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.token import Ticket
from authz.tasks.carriers import EitherCarrier, HandleCarrier
from authz.tasks.token import HEADER, TYPE, TokenCarrier, TokenIssuer, TokenTerms
from authz.tasks.token_keys import TokenKeys
from tests.support.records import request
from tests.support.refusals import outcome
from tests.tasks.nodes import SUPPORT, make_task

TERMS = TokenTerms("example.org", 300)
NOW = float(int(time.time()))
TASK = make_task(transaction="0190aaaa-txn")
PORTAL = "spiffe://example.org/portal"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TokenKeys:
    """Keys in a file of their own."""
    return TokenKeys.open(tmp_path_factory.mktemp("keys") / "keys.json")


@cache
def _made() -> TokenKeys:
    """Keys for laws, whose examples share no fixture."""
    with tempfile.TemporaryDirectory() as folder:
        return TokenKeys.open(Path(folder) / "keys.json")


def carried(*tokens: str, **headers: tuple[str, ...]) -> Request:
    """A request with these tokens, and these other headers with dashes for underscores."""
    others = {name.replace("_", "-"): values for name, values in headers.items()}
    return request(headers={**({HEADER: tokens} if tokens else {}), **others})


def at(unix_seconds: float = NOW) -> Arrival:
    """A check's arrival at that moment."""
    return Arrival(unix_seconds, 0, "")


def read(keys: TokenKeys, *tokens: str, now: float = NOW, terms: TokenTerms = TERMS) -> Ticket | Reason | None:
    """What the carrier makes of a request with these tokens."""
    carrier = TokenCarrier(keys, terms, cache_entries=10)
    tickets: list[Ticket] = []
    refused = outcome(lambda: tickets.append(carrier.read(carried(*tokens), at(now))))
    return refused or tickets[0]


def forged(keys: TokenKeys, change: Callable[[dict[str, Any]], object], **header: object) -> str:
    """A token of our own key with claims changed, and with members of its header changed."""
    key = keys.current.keys[0]
    _, claims, _ = TokenIssuer(keys, TERMS).issue(TASK, PORTAL, NOW).split(".")
    told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=="))
    change(told)
    names = {"typ": TYPE, "alg": key.algorithm, "kid": key.id, **header}
    return jwt.encode(names, told, key.key, [str(names["alg"])])


def nothing(claims: dict[str, Any]) -> None:
    """No change."""


def test_an_issued_token_names_its_task(keys: TokenKeys) -> None:
    """Task, owner, transaction, grants, ceiling and the one agent come back; it lives no longer than cap and task."""
    ticket = read(keys, TokenIssuer(keys, TERMS).issue(TASK, PORTAL, NOW))
    assert isinstance(ticket, Ticket)
    assert ticket.token is not None
    told = ticket.token.task
    assert (ticket.task_id, told.owner, told.transaction) == (TASK.id, TASK.owner, TASK.transaction)
    assert (told.grants, told.ceiling, told.agents) == (TASK.grants, TASK.ceiling, TASK.agents)
    assert (ticket.token.agent, ticket.token.requester) == (SUPPORT, PORTAL)
    assert ticket.token.expires_unix_seconds == NOW + 300
    short = make_task(expires_unix_seconds=NOW + 10, transaction="0190bbbb-txn")
    assert isinstance(read(keys, TokenIssuer(keys, TERMS).issue(short, PORTAL, NOW), now=NOW + 9), Ticket)
    assert read(keys, TokenIssuer(keys, TERMS).issue(short, PORTAL, NOW), now=NOW + 10) is Reason.TOKEN_EXPIRED


FORGERIES: dict[str, tuple[Reason, Callable[[dict[str, Any]], object]]] = {
    "another audience": (Reason.TOKEN_OF_ANOTHER_DOMAIN, lambda claims: claims.update(aud="partner.example")),
    "a list of audiences": (Reason.TOKEN_OF_ANOTHER_DOMAIN, lambda claims: claims.update(aud=["example.org"])),
    "expired": (Reason.TOKEN_EXPIRED, lambda claims: claims.update(iat=NOW - 60, exp=NOW)),
    "future": (Reason.TOKEN_FROM_THE_FUTURE, lambda claims: claims.update(iat=NOW + 60, exp=NOW + 120)),
    "too long": (Reason.TOKEN_LIVES_TOO_LONG, lambda claims: claims.update(exp=NOW + 301)),
    "no transaction": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.pop("txn")),
    "no subject": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.pop("sub")),
    "no scope": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(scope="")),
    "unknown scope": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(scope="everything")),
    "no requester": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.pop("req_wl")),
    "no context": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.pop("tctx")),
    "context is a text": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(tctx="task")),
    "no expiry": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.pop("exp")),
    "expiry is a text": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(exp="tomorrow")),
    "actor is a text": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(act="spiffe://example.org/a")),
    "actor is no SPIFFE ID": (Reason.TOKEN_CLAIM_MISSING, lambda claims: claims.update(act={"sub": "alice"})),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_token_with_a_wrong_claim_is_refused_for_it(keys: TokenKeys, name: str) -> None:
    """A signature of our own does not make up for a claim that is missing, malformed or of another place or time."""
    reason, change = FORGERIES[name]
    assert read(keys, forged(keys, change)) is reason


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        (Reason.TOKEN_HEADER_NOT_ALLOWED, {"typ": "JWT"}),
        (Reason.TOKEN_HEADER_NOT_ALLOWED, {"typ": "TXNTOKEN+JWT"}),
        (Reason.TOKEN_HEADER_NOT_ALLOWED, {"cty": "JWT"}),
        (Reason.TOKEN_KEY_UNKNOWN, {"kid": "another"}),
    ],
)
def test_a_header_that_is_not_of_a_txn_token_is_refused(
    keys: TokenKeys, reason: Reason, header: dict[str, object]
) -> None:
    """Type, key id and every other member of the header are exactly as our tokens have them."""
    assert read(keys, forged(keys, nothing, **header)) is reason


def test_another_algorithm_is_refused_before_any_key_is_used(keys: TokenKeys) -> None:
    """An HMAC made with our public key, and a token without a signature, are of no algorithm of ours."""
    key = keys.current.keys[0]
    public = json.dumps(key.public).encode()
    claims = {"aud": "example.org"}
    header = {"typ": TYPE, "kid": key.id}
    assert read(keys, jwt.encode({**header, "alg": "HS256"}, claims, OctKey.import_key(public), ["HS256"])) is (
        Reason.TOKEN_ALGORITHM
    )
    none = base64.urlsafe_b64encode(json.dumps({**header, "alg": "none"}).encode()).decode().rstrip("=")
    assert read(keys, f"{none}.e30.AA") is Reason.TOKEN_ALGORITHM


def test_a_signature_of_another_key_is_refused(keys: TokenKeys) -> None:
    """A stranger's key under our key's id convinces nobody."""
    key = keys.current.keys[0]
    header = {"typ": TYPE, "alg": "ES256", "kid": key.id}
    stranger = jwt.encode(header, {"aud": "example.org"}, ECKey.generate_key("P-256"), ["ES256"])
    assert read(keys, stranger) is Reason.TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        (Reason.TASK_MISSING, ()),
        (Reason.TOKEN_REPEATED, ("a.b.c", "a.b.c")),
        (Reason.TOKEN_REPEATED, ("a.b.c,a.b.c",)),
        (Reason.TOKEN_MALFORMED, ("",)),
        (Reason.TOKEN_MALFORMED, ("a.b",)),
        (Reason.TOKEN_MALFORMED, ("a" * 9000,)),
        (Reason.TOKEN_MALFORMED, ("\udcff.b.c",)),
    ],
)
def test_what_is_not_one_token_is_refused(keys: TokenKeys, reason: Reason, values: tuple[str, ...]) -> None:
    """None, two, folded, empty, oversized and undecodable values never come as far as a signature."""
    assert read(keys, *values) is reason


@given(place=st.integers(0, 10_000), character=st.sampled_from("Aa0_-.~"))
def test_a_changed_token_is_never_another_task(place: int, character: str) -> None:
    """Whatever character of a token is changed, it is refused, or it is the same token."""
    keys = _made()
    token = TokenIssuer(keys, TERMS).issue(TASK, PORTAL, NOW)
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    found = read(keys, changed)
    assert isinstance(found, Reason) or changed == token


def test_keys_rotate_without_a_gap(tmp_path: Path) -> None:
    """A new key signs once it was published; the old one's tokens count until they have ended, and no longer."""
    keys = TokenKeys.open(tmp_path / "keys.json")
    issuer, start = TokenIssuer(keys, TERMS), time.time()
    old = issuer.issue(make_task(transaction="0190cccc-txn"), PORTAL, start)
    new_id = keys.rotate(publish_ahead_seconds=60, honoured_seconds=300)
    assert keys.current.signing(start + 1).id != new_id
    assert keys.current.signing(time.time() + 61).id == new_id
    assert len(keys.current.public(start)["keys"]) == 2
    assert isinstance(read(keys, old, now=start + 100), Ticket)
    late = forged(TokenKeys.open(tmp_path / "keys.json"), lambda claims: claims.update(iat=NOW + 900, exp=NOW + 1000))
    assert read(keys, late, now=NOW + 950) is Reason.TOKEN_KEY_UNKNOWN


def test_without_a_key_nothing_is_signed_and_nothing_trusted(tmp_path: Path, keys: TokenKeys) -> None:
    """An empty set is no licence: issuing says so, and every token is of an unknown key."""
    empty = TokenKeys(tmp_path / "none.json")
    with pytest.raises(Unavailable):
        TokenIssuer(empty, TERMS).issue(TASK, PORTAL, NOW)
    assert read(empty, TokenIssuer(keys, TERMS).issue(TASK, PORTAL, NOW)) is Reason.TOKEN_KEY_UNKNOWN


def test_token_and_handle_must_agree(keys: TokenKeys) -> None:
    """With both, both name the same task; with one, that one counts; with none, there is no task."""
    carrier = EitherCarrier(HandleCarrier("x-task-id"), TokenCarrier(keys, TERMS, cache_entries=10), HEADER)
    token = TokenIssuer(keys, TERMS).issue(TASK, PORTAL, NOW)
    assert carrier.read(carried(token, x_task_id=(TASK.id,)), at()).task_id == TASK.id
    assert carrier.read(carried(token), at()).task_id == TASK.id
    assert carrier.read(carried(x_task_id=("0190aaaa-0001",)), at()) == Ticket("0190aaaa-0001")
    with pytest.raises(Refused) as refused:
        carrier.read(carried(token, x_task_id=("0190aaaa-0001",)), at())
    assert refused.value.reason is Reason.TOKEN_OF_ANOTHER_TASK


def test_a_ceiling_comes_back_as_it_was(keys: TokenKeys) -> None:
    """Every ceiling survives the journey."""
    for ceiling in Sensitivity:
        task = make_task(ceiling=ceiling, transaction="0190dddd-txn")
        ticket = read(keys, TokenIssuer(keys, TERMS).issue(task, PORTAL, NOW))
        assert isinstance(ticket, Ticket)
        assert ticket.token is not None
        assert ticket.token.task.ceiling is ceiling
