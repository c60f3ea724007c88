"""Credentials: the correct certificates of the sample mesh's workloads, and one of each kind that must not pass."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from authz.demo.agents import Credentials
from authz.demo.ca import DAY, Certificate, DevelopmentCa

TRUST_DOMAIN = "example.org"
FOREIGN_TRUST_DOMAIN = "evil.example"
AUTHZ_ID = f"spiffe://{TRUST_DOMAIN}/authz"
TOOLS = ("crm", "mail", "hr")
AGENTS = ("research", "reporter", "payroll", "intern")


def spiffe_id(name: str) -> str:
    """The SPIFFE ID of an agent or a tool; a tool's is also its sidecar's."""
    return f"spiffe://{TRUST_DOMAIN}/{'tool' if name in TOOLS else 'agent'}/{name}"


def tool_host(name: str) -> str:
    """The DNS name of a tool. Its certificate carries it too, for clients that check names, such as curl."""
    return f"{name}.{TRUST_DOMAIN}"


def mint_all(
    folder: Path, ca: DevelopmentCa, old: DevelopmentCa, foreign: DevelopmentCa
) -> Mapping[str, Credentials | None]:
    """Who can call, by name; `nobody` has no certificate. The files are written into the folder.

    `old` is an authority of the same trust domain as `ca`; the `veteran` is the research agent as `old` certified it.
    """
    minted = _workloads(ca) | {"veteran": old.mint(spiffe_id("research"))} | _impostors(ca, foreign)
    written = {name: Credentials(*certificate.write(folder, name)) for name, certificate in minted.items()}
    return {**written, "nobody": None}


def _workloads(ca: DevelopmentCa) -> dict[str, Certificate]:
    tools = {name: ca.mint(spiffe_id(name), dns=(tool_host(name),)) for name in TOOLS}
    return {"authz": ca.mint(AUTHZ_ID)} | tools | {name: ca.mint(spiffe_id(name)) for name in AGENTS}


def _impostors(ca: DevelopmentCa, foreign: DevelopmentCa) -> dict[str, Certificate]:
    """Each wants to pass for the research agent, or for somebody."""
    wanted = spiffe_id("research")
    return {
        "stranger": foreign.mint(f"spiffe://{FOREIGN_TRUST_DOMAIN}/agent/research"),
        "forger": foreign.mint(wanted),
        "dns-name": ca.mint(dns=(wanted,)),
        "two-ids": ca.mint(wanted, spiffe_id("payroll")),
        "ca-cert": ca.mint(wanted, ca=True),
        "expired": ca.mint(wanted, not_before=dt.datetime.now(dt.UTC) - 2 * DAY),
    }
