"""The task service: messages in; rulings asked of the rules, acts done by the store; messages out.

Every call that changes or shows something is decided, audited and then done, in this order; what is refused is a gRPC
status with a google.rpc.ErrorInfo that names the reason.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from authz.api.failures import Failed, refusal
from authz.api.messages import read_draft, request_messages, seconds_of, task_message
from authz.api.pb.authz.tasks.v1 import tasks_pb2 as pb
from authz.core.acts import Act, Conflict, NoSuchTask, Put
from authz.core.decision import Allow, Deny, StepUp
from authz.core.demand import Demand
from authz.core.errors import Refused, Unavailable
from authz.core.ids import uuid7
from authz.core.record import Arrival, Record
from authz.core.task import Task
from authz.core.view import TaskView
from authz.lifecycle import NOTHING_FOUND, Found, Fresh, Rules
from authz.ports import Audit, Caller, TaskKeeper, TaskNews, TaskReader, TokenIssuer

WATCH_SECONDS = 0.2
"""How often the store is asked for news by those who watch."""
_MOST_ON_A_PAGE = 1000
_ON_A_PAGE = 100
_ID_RANDOMNESS_BYTES = 10
_CHILD_RANDOMNESS_BYTES = 6
_DEFAULT_APPROVAL_SECONDS = 900.0
_V = TypeVar("_V")

_log = logging.getLogger("authz.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskService:
    """The parts that the service joins. `issuer` is None where no tokens are issued."""

    rules: Rules
    caller: Caller
    keeper: TaskKeeper
    reader: TaskReader
    news: TaskNews
    audit: Audit
    issuer: TokenIssuer | None

    async def start(self, request: pb.StartRequest, arrival: Arrival) -> pb.StartResponse:
        """Start a task."""
        return await self._make(arrival, Demand("start", draft=read_draft(request.draft)))

    async def delegate(self, request: pb.DelegateRequest, arrival: Arrival) -> pb.StartResponse:
        """Delegate part of a task."""
        return await self._make(arrival, Demand("delegate", request.task_id, read_draft(request.draft)))

    async def issue_token(self, request: pb.IssueTokenRequest, arrival: Arrival) -> pb.IssueTokenResponse:
        """A new token for an agent of the task."""
        demand = Demand("issue_token", request.task_id)
        found = await self._found(demand.task_id)
        record, _ = await self._ruled(arrival, demand, found)
        token = self._token(found.errand.task, record)
        if not token:
            raise Failed(grpc.StatusCode.FAILED_PRECONDITION, "no_tokens", "this service issues no tokens")
        return pb.IssueTokenResponse(token=token)

    async def get(self, request: pb.GetRequest, arrival: Arrival) -> pb.GetResponse:
        """A task and what its agents asked for."""
        await self._ruled(arrival, Demand("get", request.task_id), await self._found(request.task_id))
        view = await self._view(request.task_id)
        return pb.GetResponse(task=task_message(view.task, time.time()), access_requests=request_messages(view))

    async def list(self, request: pb.ListRequest, arrival: Arrival) -> pb.ListResponse:
        """A page of tasks."""
        await self._ruled(arrival, Demand("list"), NOTHING_FOUND)
        most = min(request.page_size or _ON_A_PAGE, _MOST_ON_A_PAGE)
        tasks, now = await self._stored(self.reader.list(request.page_token, most)), time.time()
        following = tasks[-1].id if len(tasks) == most else ""
        return pb.ListResponse(tasks=[task_message(each, now) for each in tasks], next_page_token=following)

    async def watch(self, request: pb.WatchRequest, arrival: Arrival) -> AsyncIterator[pb.WatchResponse]:
        """A task, or all, at each change; one task also at once."""
        found = await self._found(request.task_id) if request.task_id else NOTHING_FOUND
        await self._ruled(arrival, Demand("watch", request.task_id), found)
        news = await self._stored(self.news.since(""))
        if request.task_id:
            yield await self._watched(request.task_id)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            news = await self._stored(self.news.since(news.place))
            changed = [request.task_id] if news.is_everything and request.task_id else news.task_ids
            for task_id in changed:
                if request.task_id in ("", task_id):
                    try:
                        yield await self._watched(task_id)
                    except Failed as failed:  # a task that was purged meanwhile is no longer news
                        if failed.code is not grpc.StatusCode.NOT_FOUND:
                            raise

    async def end(self, request: pb.EndRequest, arrival: Arrival) -> pb.EndResponse:
        """End a task."""
        await self._change(arrival, Demand("end", request.task_id))
        return pb.EndResponse()

    async def suspend(self, request: pb.SuspendRequest, arrival: Arrival) -> pb.SuspendResponse:
        """Stop a task until it is resumed."""
        await self._change(arrival, Demand("suspend", request.task_id))
        return pb.SuspendResponse()

    async def resume(self, request: pb.ResumeRequest, arrival: Arrival) -> pb.ResumeResponse:
        """Let a task go on."""
        await self._change(arrival, Demand("resume", request.task_id))
        return pb.ResumeResponse()

    async def approve(self, request: pb.ApproveRequest, arrival: Arrival) -> pb.ApproveResponse:
        """Approve what an agent was stopped at."""
        lifetime = seconds_of(request.lifetime) if request.HasField("lifetime") else _DEFAULT_APPROVAL_SECONDS
        demand = Demand(
            "approve",
            request.task_id,
            digest=request.digest,
            approval_kind=request.kind,
            lifetime_seconds=lifetime,
        )
        fresh = await self._change(arrival, demand)
        return pb.ApproveResponse(approval_id=fresh.id)

    async def deny(self, request: pb.DenyRequest, arrival: Arrival) -> pb.DenyResponse:
        """Say no to it."""
        await self._change(arrival, Demand("reject", request.task_id, digest=request.digest))
        return pb.DenyResponse()

    async def get_keys(self, request: pb.GetKeysRequest, arrival: Arrival) -> pb.GetKeysResponse:  # noqa: ARG002  for all
        """The public keys of our tokens: no secret, so whoever reaches the port may know them."""
        if self.issuer is None:
            raise Failed(grpc.StatusCode.FAILED_PRECONDITION, "no_tokens", "this service issues no tokens")
        return pb.GetKeysResponse(jwks=self.issuer.public_keys(time.time()))

    async def _make(self, arrival: Arrival, demand: Demand) -> pb.StartResponse:
        found = await self._found(demand.task_id) if demand.task_id else NOTHING_FOUND
        fresh = _fresh(child=bool(demand.task_id))
        record, act = await self._ruled(arrival, demand, found, fresh)
        if not isinstance(act, Put):
            raise TypeError(act)
        token = self._token(act.task, record)  # first: a task whose agent gets no token must not be kept
        await self._done(act)
        return pb.StartResponse(task=task_message(act.task, record.arrival.unix_seconds), token=token)

    async def _change(self, arrival: Arrival, demand: Demand) -> Fresh:
        fresh = _fresh(child=False)
        _, act = await self._ruled(arrival, demand, await self._found(demand.task_id), fresh)
        if act is not None:
            await self._done(act)
        return fresh

    async def _ruled(
        self, arrival: Arrival, demand: Demand, found: Found, fresh: Fresh | None = None
    ) -> tuple[Record, Act | None]:
        """The record of an allowed demand, which the audit log has; raises Failed where it is not allowed."""
        started = time.perf_counter()
        try:
            caller = self.caller.prove(arrival)
        except Refused as refused:
            raise refusal(refused.reason, arrival) from refused
        ruling = self.rules.rule(arrival, caller, demand, found, fresh or _fresh(child=False))
        try:
            self.audit.append(ruling.record, time.perf_counter() - started)
        except Unavailable as error:
            raise Failed(
                grpc.StatusCode.UNAVAILABLE, "audit_unavailable", "the change could not be recorded"
            ) from error
        match ruling.record.decision:
            case Allow():
                return ruling.record, ruling.act
            case Deny(reason) | StepUp(reason=reason):
                raise refusal(reason, arrival)

    async def _found(self, task_id: str) -> Found:
        views = []
        while task_id:
            views.append(await self._view(task_id))
            task_id = task_id.rpartition(".")[0]
        if not views:
            raise Failed(grpc.StatusCode.INVALID_ARGUMENT, "task_missing", "task_id: name a task", field="task_id")
        return Found.of(*views)

    async def _view(self, task_id: str) -> TaskView:
        return await self._stored(self.reader.get(task_id))

    async def _watched(self, task_id: str) -> pb.WatchResponse:
        view = await self._view(task_id)
        return pb.WatchResponse(task=task_message(view.task, time.time()), access_requests=request_messages(view))

    async def _done(self, act: Act) -> None:
        await self._stored(self.keeper.do(act))

    async def _stored(self, answer: Awaitable[_V]) -> _V:
        try:
            return await answer
        except NoSuchTask as error:
            raise Failed(grpc.StatusCode.NOT_FOUND, "task_unknown", f"there is no task {error}") from error
        except Unavailable as error:
            _log.warning("a change of a task failed: %s", error)
            raise Failed(grpc.StatusCode.UNAVAILABLE, "task_store_unavailable", "try again") from error
        except Conflict as error:
            raise Failed(grpc.StatusCode.FAILED_PRECONDITION, "conflict", str(error)) from error
        except ValueError as error:
            raise Failed(grpc.StatusCode.INVALID_ARGUMENT, "task_malformed", str(error)) from error

    def _token(self, task: Task, record: Record) -> str:
        if self.issuer is None:
            return ""
        requester = record.identity.spiffe_id.uri if record.identity else ""
        try:
            return self.issuer.issue(task, requester, record.arrival.unix_seconds)
        except Unavailable as error:
            raise Failed(grpc.StatusCode.UNAVAILABLE, "no_signing_key", str(error)) from error


def _fresh(*, child: bool) -> Fresh:
    now = time.time()
    transaction = uuid7(now, os.urandom(_ID_RANDOMNESS_BYTES))
    if child:
        return Fresh(secrets.token_hex(_CHILD_RANDOMNESS_BYTES), transaction)
    return Fresh(uuid7(now, os.urandom(_ID_RANDOMNESS_BYTES)), transaction)
