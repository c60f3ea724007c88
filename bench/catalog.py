"""What it costs to understand a hop: plain HTTP, a call of an MCP tool, and a catalog a hundred times as large."""

from collections.abc import Iterator

from authz.catalog.http import HttpCatalog
from authz.core.request import Request
from bench.row import Row, median_us
from tests.support.catalogs import HOST, catalog_of, entry, request
from tests.support.messages import attempt, post, service_of

HTTP_BOUND_US = 10
MCP_BOUND_US = 60
MANY_OVER_FEW_BOUND = 1.5
HTTP_BYTES, MCP_BYTES = 2000, 4000


def plain_hop() -> Request:
    """A request of 2 kB, most of it headers."""
    headers = {f"x-header-{index}": ("v" * 88,) for index in range(19)}
    return request("/v1/things42/4711/parts/7?page=2", headers=headers)


def catalog_with(routes: int) -> HttpCatalog:
    """A service of so many routes, of four segments each."""
    return catalog_of(
        *(entry(f"/v1/things{index}/{{thing_id}}/parts/{{part_id}}", action=f"crm.r{index}") for index in range(routes))
    )


def mail_call() -> Request:
    """A call of 4 kB of a tool that sends mail: recipients, a text, and a few attachments."""
    arguments = {
        "to": [f"person{index}@example.org" for index in range(6)],
        "subject": "Quarterly report",
        "text": "As discussed, here are the figures of the quarter.\n" * 65,
        "attachments": [{"name": f"sheet-{index}.pdf", "bytes": 10_000 + index} for index in range(6)],
        "urgent": False,
    }
    params = {"name": "send_mail", "arguments": arguments}
    hop = post("/mcp", {"jsonrpc": "2.0", "id": 17, "method": "tools/call", "params": params})
    size = len(hop.body.content)
    if not MCP_BYTES * 0.9 < size < MCP_BYTES * 1.1:
        raise ValueError(f"a call of {size} bytes is not of 4 kB")
    return hop


def mail_catalog() -> HttpCatalog:
    """The tool, with an argument that policies see."""
    arguments = {"recipient_domains": {"at": ["/to", "/cc"], "kind": "email_domains"}}
    tools = {f"tool_{index}": attempt(f"mail.t{index}") for index in range(50)}
    tools["send_mail"] = attempt("mail.send", arguments=arguments)
    return service_of(mcp={"path": "/mcp", "session": attempt("mail.session"), "tools": tools})


def rows() -> Iterator[Row]:
    """`classify_http_us`, `classify_mcp_us` and `routes_5000_over_50`."""
    hop, few, many = plain_hop(), catalog_with(50), catalog_with(5000)
    if HOST not in few.routes_by_host or few.classify(hop) != many.classify(hop):
        raise ValueError("the two catalogs do not agree on the hop")
    # In turns, and the least of each: both catalogs meet the same pauses.
    rounds = [(median_us(lambda: few.classify(hop), calls=4000), median_us(lambda: many.classify(hop), calls=4000))
              for _ in range(5)]  # fmt: skip
    few_us, many_us = min(each for each, _ in rounds), min(each for _, each in rounds)
    how = "a 2 kB hop, two path parameters, a query, digest of them; median of batches of 20, least of 5 rounds"
    yield Row("classify_http_us", few_us, "us", HTTP_BOUND_US, how)
    yield Row("routes_5000_over_50", many_us / few_us, "ratio", MANY_OVER_FEW_BOUND, "the same hop, in turns")
    call, mail = mail_call(), mail_catalog()
    mail_us = min(median_us(lambda: mail.classify(call), calls=3000) for _ in range(5))
    how = "a 4 kB tools/call: strict JSON, recipients' domains, digest of all arguments; least of 5 rounds"
    yield Row("classify_mcp_us", mail_us, "us", MCP_BOUND_US, how)
