"""Plain HTTP, and gRPC: the route alone says what a request is; path, query and body are its arguments."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from authz.catalog.bodies import json_body, whole_body
from authz.catalog.entry import Entry
from authz.catalog.queries import read_query
from authz.core.hop import Hop
from authz.core.request import Request

BodyForm = Literal["none", "json", "bytes"]


@dataclass(frozen=True, slots=True)
class PlainRoute:
    """A route that is one entry.

    Its arguments are `{"path": ..., "query": ..., "query_text": ..., "body": ...}`, each only where there is something.
    The query counts as the text that it is, so that what the route does not read of it is bound too. A body counts
    where the route says so: as JSON, or as the digest of its bytes.
    """

    entry: Entry
    query: tuple[str, ...] = ()
    body: BodyForm = "none"

    @property
    def resource(self) -> str:
        """Its name for people."""
        return self.entry.resource

    @property
    def reads_more_than_target(self) -> bool:
        """Whether the body counts too."""
        return self.body != "none"

    def read(self, request: Request, parameters: Mapping[str, str]) -> Hop:
        """The hop that the request is; raises Refused."""
        query = request.query
        if not (parameters or query or self.body != "none" or self.entry.arguments):
            return self.entry.hop(parameters)
        given: dict[str, Any] = {"path": parameters} if parameters else {}
        if self.query:
            values = read_query(query, self.query)
            given["query"] = values
            parameters = {**values, **parameters}
        if query:
            given["query_text"] = query
        if self.body == "json":
            given["body"] = json_body(request)
        elif self.body == "bytes":
            given["body"] = hashlib.sha256(whole_body(request, may_be_empty=True)).hexdigest()
        return self.entry.hop(parameters, given)
