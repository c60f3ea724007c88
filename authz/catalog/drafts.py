"""Drafts of catalogs: an OpenAPI file or an MCP server's list of tools in, the text of a catalog out.

A draft says what those files can know: routes, names, arguments. What an attempt does and to which data, they cannot:
that is `unset`, each time, and requests of an entry are denied until an operator has filled it in. Hints of the server
about itself (`readOnlyHint`, the HTTP method) are told in comments only, since they are the server's own word.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from authz.catalog.hosts import read_host
from authz.catalog.paths import NotATemplate, Template
from authz.catalog.sections import UNSET
from authz.core.errors import Place, Problem, Refused, Unusable
from authz.documents import read

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def draft_from_openapi(file: Path, service: str, host: str | None) -> str:
    """The draft for an OpenAPI 3 or Swagger 2 file; raises Unusable."""
    document = _mapping(file, _parsed(file))
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise Unusable(Problem(Place(file), "no paths are described here", "Give an OpenAPI file."))
    prefix, named = _server(document)
    lines = [*_head(service, host or named, f"OpenAPI file {file.name}"), "    routes:"]
    skipped: list[str] = []
    for path, item in paths.items():
        try:
            template = Template.parse(_template(prefix + str(path))).text
        except NotATemplate as error:
            skipped.append(f"{path}: {error}")
            continue
        for method in _METHODS:
            if isinstance(item, dict) and isinstance(operation := item.get(method), dict):
                lines += _route(service, method, template, item, operation)
    lines += [f"# left out, for it cannot be written as a path here: {_one_line(each)}" for each in skipped]
    return "\n".join(lines) + "\n"


def draft_from_mcp(file: Path, service: str, host: str | None, path: str) -> str:
    """The draft for what an MCP server answers to `tools/list` (whole, its result, or the list); raises Unusable."""
    found = _parsed(file)
    for member in ("result", "tools"):
        if isinstance(found, dict) and member in found:
            found = found[member]
    if not isinstance(found, list) or not found:
        raise Unusable(Problem(Place(file), "no list of tools", "Give the answer of the server to tools/list."))
    lines = [
        *_head(service, host or "", f"list of tools {file.name}"),
        "    mcp:",
        f"      path: {json.dumps(path)}",
        "      session:  # opens, keeps and describes sessions: no data of the server's",
        f"        action: {_word(service)}.session",
        *_unset("        "),
        "      tools:",
    ]
    for tool in found:
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise Unusable(Problem(Place(file), "a tool without a name", "Give the answer to tools/list."))
        lines += _tool(service, tool)
    return "\n".join(lines) + "\n"


def _head(service: str, host: str, source: str) -> list[str]:
    try:
        shown = read_host(host)
    except Refused:
        shown = "unset.invalid"
    return [
        f"# Drafted from the {_one_line(source)}. Requests of each entry are denied until its {UNSET} values are set.",
        "services:",
        f"  {_word(service)}:",
        f"    hosts: [{shown}]" + ("  # the host was not given: set it" if shown == "unset.invalid" else ""),
    ]


def _unset(indent: str) -> list[str]:
    return [f"{indent}class: {UNSET}", f"{indent}dataset: {UNSET}", f"{indent}sensitivity: {UNSET}"]


def _route(
    service: str, method: str, path: str, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[str]:
    said = operation.get("operationId") or f"{method} {path}"
    summary = operation.get("summary")
    yield f"      - action: {_word(service)}.{_word(str(said))}" + (f"  # {_one_line(summary)}" if summary else "")
    yield from _unset("        ")
    yield f"        method: {method.upper()}"
    yield f"        path: {json.dumps(path)}"
    given = [*_list(item.get("parameters")), *_list(operation.get("parameters"))]
    query = [str(each["name"]) for each in given if isinstance(each, dict) and each.get("in") == "query"]
    plain = [name for name in query if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) and f"{{{name}}}" not in path]
    if plain:
        yield f"        query: {json.dumps(list(dict.fromkeys(plain)))}"
    if "application/json" in _content(operation):
        yield "        body: json"


def _tool(service: str, tool: Mapping[str, Any]) -> Iterator[str]:
    name, annotations = str(tool["name"]), tool.get("annotations")
    described = tool.get("description") or tool.get("title")
    yield f"        {json.dumps(name)}:" + (f"  # {_one_line(described)}" if described else "")
    if isinstance(annotations, dict):
        hints = [f"{hint} {json.dumps(annotations[hint])}" for hint in _HINTS if hint in annotations]
        if hints:
            yield f"          # the server says of itself: {_one_line(', '.join(hints))}"
    yield f"          action: {_word(service)}.{_word(name)}"
    yield from _unset("          ")
    schema = tool.get("inputSchema") or tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(properties, dict) and properties:
        yield f"          # arguments it takes: {_one_line(', '.join(map(str, properties)))}"
        mirrored = {
            str(each["x-mcp-header"]): "/" + str(argument).replace("~", "~0").replace("/", "~1")
            for argument, each in properties.items()
            if isinstance(each, dict) and "x-mcp-header" in each
        }
        if mirrored:
            yield f"          headers: {json.dumps(mirrored)}"


def _server(document: Mapping[str, Any]) -> tuple[str, str]:
    """The prefix of all paths and the host, from the first server that is named; empty where it is not."""
    servers = _list(document.get("servers"))
    if servers and isinstance(servers[0], dict):
        url = urlsplit(str(servers[0].get("url", "")))
        return url.path.rstrip("/"), url.netloc
    return str(document.get("basePath") or "").rstrip("/"), str(document.get("host") or "")


def _template(path: str) -> str:
    """The path with the names of its parameters as templates have them."""
    return re.sub(r"\{([^{}/]+)\}", lambda match: "{" + re.sub(r"\W", "_", match[1], flags=re.ASCII) + "}", path)


def _content(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    body = operation.get("requestBody")
    content = body.get("content") if isinstance(body, dict) else None
    return content if isinstance(content, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(text: str) -> str:
    """A text as a word of a name."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")[:60] or "unnamed"


def _one_line(text: object) -> str:
    """A stranger's text as the end of a comment: one line, printable, short."""
    return "".join(each if each.isprintable() else " " for each in " ".join(str(text).split()))[:100]


def _parsed(file: Path) -> Any:  # noqa: ANN401  any JSON or YAML
    try:
        return yaml.safe_load(read(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = Problem(Place(file), "neither JSON nor YAML", "Give the file as the server publishes it.")
        raise Unusable(problem) from error


def _mapping(file: Path, found: object) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise Unusable(Problem(Place(file), "not an object", "Give an OpenAPI file."))
    return found
