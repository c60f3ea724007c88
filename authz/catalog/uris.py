"""URIs of MCP resources: which entry a URI is, by the shapes that the catalog gives."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.catalog.entry import Entry
from authz.catalog.http import Route, Routes
from authz.catalog.paths import NotATemplate, Template, read_path, text_of
from authz.core.errors import Refused
from authz.core.hop import Hop
from authz.core.reasons import Reason

MAX_CHARACTERS = 2000

_HIERARCHICAL = re.compile(r"([a-z][a-z0-9+.-]{0,31})://([A-Za-z0-9._-]{0,253})(/.*)?")
_OPAQUE = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[A-Za-z0-9._~@/:-]+")
_READ = "READ"  # resources are read and nothing else, so all routes are of one method


@dataclass(frozen=True, slots=True)
class ResourceUris:
    """The resources of one MCP server: templates such as `crm://contacts/{contact_id}`, and whole URIs."""

    exact: dict[str, Entry] = field(default_factory=dict)
    routes_by_authority: dict[tuple[str, str], Routes[Entry]] = field(default_factory=dict)

    def add(self, uri: str, entry: Entry) -> None:
        """Take in a template or a whole URI; raises NotATemplate, or Overlap."""
        match = _HIERARCHICAL.fullmatch(uri)
        if match is None or match[3] is None:
            if "{" in uri or not (_OPAQUE.fullmatch(uri) or match):
                raise NotATemplate(
                    "a resource's URI is scheme://name/path, whose path has {parameters}, or a plain URI"
                )
            if uri in self.exact:
                raise NotATemplate("this URI is given twice")
            self.exact[uri] = entry
            return
        routes = self.routes_by_authority.setdefault((match[1], match[2].lower()), Routes())
        routes.add(_READ, Route(Template.parse(match[3]), entry))

    def read(self, uri: str, parameters: Mapping[str, str]) -> Hop:
        """The hop that reading this URI is; raises Refused where it is no entry's, or could be read in two ways."""
        if len(uri) > MAX_CHARACTERS:
            raise Refused(Reason.MESSAGE_AMBIGUOUS, f"a URI of {len(uri)} characters")
        if uri in self.exact:
            return self.exact[uri].hop(parameters, {"uri": uri})
        match = _HIERARCHICAL.fullmatch(uri)
        if match is None or match[3] is None:
            raise Refused(Reason.ACTION_UNKNOWN, f"no such entry: MCP resources/read {uri[:200]}")
        if "?" in uri or "#" in uri:
            raise Refused(Reason.MESSAGE_AMBIGUOUS, "a resource's URI with a query or a fragment")
        routes = self.routes_by_authority.get((match[1], match[2].lower()))
        segments = read_path(match[3])
        route = routes.find(_READ, segments) if routes else None
        if route is None:
            raise Refused(Reason.ACTION_UNKNOWN, f"no such entry: MCP resources/read {uri[:200]}")
        found = {name: text_of(segments[index]) for index, name in route.template.parameters}
        return route.meaning.hop({**parameters, **found}, {"uri": uri, **found})
