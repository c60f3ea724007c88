"""Query in, the document that policies for opa-envoy-plugin see out, with our own facts beside it as `authz`.

The words are the plugin's (envoyauth/request.go): `attributes`, `parsed_path`, `parsed_query`, `parsed_body`,
`truncated_body`, `version`, `source_principal`. What it reads in a guess is refused here, for two readers could guess
differently; the principal is the one that was proven.
"""

import json
from collections.abc import Mapping

from authz.core.errors import Refused
from authz.core.query import Query
from authz.core.reasons import Reason
from authz.core.request import Request
from authz.policy.plugin_body import parsed_body
from authz.policy.question import facts_of, groups_by_agent
from authz.policy.readings import decoded, parameters_of, unread

_VERSION = {"ext_authz": "v3", "encoding": "protojson"}


class PluginQuestion:
    """Asks as opa-envoy-plugin asks OPA."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], hidden_headers: frozenset[str]) -> None:
        """Headers that are `hidden`, in lower case, carry credentials that are for us alone."""
        self._groups_of = groups_by_agent(groups)
        self._hidden = hidden_headers

    def __call__(self, query: Query) -> bytes:
        """The document in JSON; raises Refused where the request has more than one reading, or there is none."""
        request = query.request
        if request is None:
            raise Refused(
                Reason.POLICY_ERROR, "policies for opa-envoy-plugin are asked about requests, and there is none"
            )
        body, is_truncated = parsed_body(request)
        document = {
            "attributes": self._attributes(request, query.agent.uri),
            "parsed_path": decoded(request.path_without_query).lstrip("/").split("/"),
            "parsed_query": parameters_of(request.query),
            "parsed_body": body,
            "truncated_body": is_truncated,
            "version": _VERSION,
            "source_principal": query.agent.uri,
            "authz": facts_of(query, self._groups_of.get(query.agent.uri, ())),
        }
        try:
            return json.dumps(
                document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ).encode()
        except (ValueError, RecursionError) as error:
            raise unread(f"what was sent cannot be said in JSON: {error}") from error

    def _attributes(self, request: Request, principal: str) -> dict[str, object]:
        """What Envoy said, with what we know better: whose request it is, and its headers, each once."""
        told = dict(request.attributes)
        for name in ("source", "request"):
            told[name] = _copied(told.get(name))
        told["source"] = {**_copied(told["source"]), "principal": principal}
        http = _copied(_copied(told["request"]).get("http"))
        http.pop("headerMap", None)
        http |= {"method": request.method, "host": request.host, "path": request.path}
        http["headers"] = {
            name: ",".join(values) for name, values in request.headers.items() if name.lower() not in self._hidden
        }
        told["request"] = {**_copied(told["request"]), "http": http}
        return told


def _copied(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
