"""Carriers: how a request says on whose errand it is. In goes a Request, out comes a Ticket, or a refusal."""

from authz.core.errors import Refused
from authz.core.reasons import Reason
from authz.core.record import Arrival
from authz.core.request import Request
from authz.core.task import parse_task_id
from authz.core.token import Ticket
from authz.ports import Carrier


class HandleCarrier:
    """The task's id in a header: a look-up key, which proves nothing and needs to prove nothing."""

    def __init__(self, header: str) -> None:
        """`header` is lower-case."""
        self.header = header

    def read(self, request: Request, arrival: Arrival) -> Ticket:  # noqa: ARG002  an id does not age
        """The one task id in the header; raises Refused."""
        return Ticket(parse_task_id(request.headers.get(self.header, ())))


class EitherCarrier:
    """A token, or a handle, or both. Both must name the same task."""

    def __init__(self, handle: HandleCarrier, token: Carrier, token_header: str) -> None:
        """`token_header` is lower-case."""
        self._handle = handle
        self._token = token
        self._token_header = token_header

    def read(self, request: Request, arrival: Arrival) -> Ticket:
        """The one task that the request names; raises Refused."""
        if self._token_header not in request.headers:
            return self._handle.read(request, arrival)
        ticket = self._token.read(request, arrival)
        if self._handle.header in request.headers and self._handle.read(request, arrival).task_id != ticket.task_id:
            raise Refused(Reason.TOKEN_OF_ANOTHER_TASK, f"the token is of {ticket.task_id}, the handle is not")
        return ticket
