"""Txn-Tokens (draft-ietf-oauth-transaction-tokens): a task in, a signed token out; a header in, a proven Ticket out.

The token repeats the task's record, so that who has no store can read it, and names the one workload that may present
it. Nothing but its digest is ever written down.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from joserfc import jws, jwt
from joserfc.errors import JoseError

from authz.core.errors import Refused
from authz.core.hop import Sensitivity
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.core.task import Grant, NotAGrant, Task, TaskState, parse_task_id
from authz.core.token import TaskToken, Ticket
from authz.jose import NotAToken, read_compact, read_moment
from authz.tasks.token_keys import KeySet, TokenKey, TokenKeys

HEADER = "txn-token"
"""The header's name, in lower case. The draft allows no other."""
TYPE = "txntoken+jwt"
_HEADER_MEMBERS = frozenset({"alg", "kid", "typ"})
_CEILINGS = {str(each): each for each in Sensitivity}


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What tokens of ours are like."""

    trust_domain: str  # their audience
    max_lifetime_seconds: float
    leeway_seconds: float = 5.0  # how far ahead another server's clock may be
    stand_alone: bool = False  # whether a token counts where the store has no record of its task


class TokenIssuer:
    """Signs tokens for tasks."""

    def __init__(self, keys: TokenKeys, terms: TokenTerms) -> None:
        self._keys = keys
        self._terms = terms

    def issue(self, task: Task, requester: str, unix_seconds: float) -> str:
        """A token for the task that lives no longer than it, and than the cap; raises Unavailable without a key."""
        key = self._keys.current.signing(unix_seconds)
        issued = int(unix_seconds)
        context: dict[str, Any] = {"task": task.id, "purpose": task.purpose, "ceiling": str(task.ceiling)}
        agents = sorted(map(str, task.agents))
        claims: dict[str, Any] = {
            "iat": issued,
            "exp": int(min(task.expires_unix_seconds, issued + self._terms.max_lifetime_seconds)),
            "aud": self._terms.trust_domain,
            "txn": task.transaction,
            "sub": task.owner,
            "scope": " ".join(map(str, task.grants)),
            "req_wl": requester,
            "tctx": context,
        }
        if len(agents) == 1:
            claims["act"] = {"sub": agents[0]}
        else:
            context["agents"] = agents
        return jwt.encode({"typ": TYPE, "alg": key.algorithm, "kid": key.id}, claims, key.key, [key.algorithm])

    def public_keys(self, unix_seconds: float) -> str:
        """The JWK Set of those who verify."""
        return json.dumps(self._keys.current.public(unix_seconds))


class TokenCarrier:
    """Reads the task from a Txn-Token. Implements Carrier.

    Tokens that were verified are remembered by their digest until the keys change; time is asked at each use.
    """

    def __init__(self, keys: TokenKeys, terms: TokenTerms, *, cache_entries: int) -> None:
        self._keys = keys
        self._terms = terms
        self._proven: LRUCache[tuple[str, str], _Proven] = LRUCache(cache_entries)

    def read(self, request: Request, arrival: Arrival) -> Ticket:
        """The task of the one token in the header; raises Refused."""
        values = request.headers.get(HEADER, ())
        if not values:
            raise Refused(Reason.TASK_MISSING)
        if len(values) != 1 or "," in values[0]:
            raise Refused(Reason.TOKEN_REPEATED, f"{sum(value.count(',') + 1 for value in values)} values")
        proven = self._prove(values[0], arrival.unix_seconds)
        _must_hold(proven, arrival.unix_seconds, self._terms)
        return Ticket(proven.token.task.id, proven.token, self._terms.stand_alone)

    def _prove(self, unverified_token: str, unix_seconds: float) -> "_Proven":
        # A lone surrogate is in no token, but must not be a fault here.
        digest = hashlib.sha256(unverified_token.encode("utf-8", "surrogatepass")).hexdigest()
        keys = self._keys.current
        proven = self._proven.get((digest, keys.version))
        if proven is None:
            header, claims = _read(unverified_token)
            _must_be_signed(unverified_token, header, keys, unix_seconds)
            proven = _read_claims(claims, digest, header["kid"], self._terms)
            self._proven[digest, keys.version] = proven
        else:
            _honoured(proven.token.key_id, keys, unix_seconds)
        return proven


@dataclass(frozen=True, slots=True)
class _Proven:
    token: TaskToken
    issued_unix_seconds: float


def _read(unverified_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return read_compact(unverified_token)
    except NotAToken as error:
        raise Refused(Reason.TOKEN_MALFORMED, str(error)) from error


def _must_be_signed(unverified_token: str, header: dict[str, Any], keys: KeySet, unix_seconds: float) -> None:
    """By a key of ours, with the one algorithm that is the key's: the token has no say in that."""
    if unknown := sorted(header.keys() - _HEADER_MEMBERS):
        raise Refused(Reason.TOKEN_HEADER_NOT_ALLOWED, f"{unknown[:5]!r:.200}")
    if header.get("typ") != TYPE:
        raise Refused(Reason.TOKEN_HEADER_NOT_ALLOWED, f"typ {header.get('typ')!r:.200}")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise Refused(Reason.TOKEN_KEY_UNKNOWN, "no key id")
    key = _honoured(key_id, keys, unix_seconds)
    if header.get("alg") != key.algorithm:
        raise Refused(Reason.TOKEN_ALGORITHM, f"{header.get('alg')!r:.200}, the key's is {key.algorithm}")
    try:
        jws.deserialize_compact(unverified_token, key.key, algorithms=[key.algorithm])
    except (JoseError, ValueError) as error:
        raise Refused(Reason.TOKEN_UNTRUSTED, type(error).__name__) from error


def _honoured(key_id: str, keys: KeySet, unix_seconds: float) -> TokenKey:
    try:
        return keys.honoured(key_id, unix_seconds)
    except KeyError as error:
        raise Refused(Reason.TOKEN_KEY_UNKNOWN, f"{key_id!r:.200}") from error


def _read_claims(claims: dict[str, Any], digest: str, key_id: str, terms: TokenTerms) -> _Proven:
    """The task that the token tells; raises Refused. Claims that only newer or older drafts know are not looked at."""
    if claims.get("aud") != terms.trust_domain:
        raise Refused(Reason.TOKEN_OF_ANOTHER_DOMAIN, f"{claims.get('aud')!r:.200}")
    context = claims.get("tctx")
    if not isinstance(context, dict):
        raise Refused(Reason.TOKEN_CLAIM_MISSING, "tctx")
    try:
        issued, expires = read_moment(claims, "iat"), read_moment(claims, "exp")
        agent = _agent(claims)
        task = Task(
            id=parse_task_id((_text(context, "task"),)),
            owner=_text(claims, "sub"),
            purpose=_text(context, "purpose"),
            agents=frozenset({agent}) if agent else frozenset(map(SpiffeId.parse, context.get("agents", ()))),
            grants=tuple(map(Grant.parse, _text(claims, "scope").split())),
            ceiling=_CEILINGS[_text(context, "ceiling")],
            starts_unix_seconds=issued,
            expires_unix_seconds=expires,
            state=TaskState.ACTIVE,
            transaction=_text(claims, "txn"),
        )
        requester = _text(claims, "req_wl")
    except (KeyError, TypeError, AttributeError, NotAToken, NotASpiffeId, NotAGrant) as error:
        raise Refused(Reason.TOKEN_CLAIM_MISSING, f"{type(error).__name__}: {error!s:.200}") from error
    return _Proven(TaskToken(digest, task, agent, requester, key_id, expires), issued)


def _agent(claims: dict[str, Any]) -> SpiffeId | None:
    """`act.sub`. A nested `act` says who acted before and grants nothing (RFC 8693, section 4.1)."""
    return SpiffeId.parse(_text(claims["act"], "sub")) if "act" in claims else None


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise NotAToken(f"{name} is no text")
    return value


def _must_hold(proven: _Proven, unix_seconds: float, terms: TokenTerms) -> None:
    """In its time, which is short: tokens can be replayed, says the draft."""
    expires = proven.token.expires_unix_seconds
    if not unix_seconds < expires:
        raise Refused(Reason.TOKEN_EXPIRED, f"{unix_seconds - expires:.0f} s ago")
    if not proven.issued_unix_seconds <= unix_seconds + terms.leeway_seconds:
        raise Refused(Reason.TOKEN_FROM_THE_FUTURE, f"{proven.issued_unix_seconds - unix_seconds:.0f} s ahead")
    if not expires - proven.issued_unix_seconds <= terms.max_lifetime_seconds:
        raise Refused(Reason.TOKEN_LIVES_TOO_LONG, f"{expires - proven.issued_unix_seconds:.0f} s")
