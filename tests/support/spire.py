"""Real SPIRE in tests: a Workload API with its levers, and what decides whether a test can have it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.demo.envoys import binary
from authz.demo.spire_domain import SpireDomain, Workload
from authz.demo.spire_programs import find_spire, this_interpreter
from tests.support.workload_api import Agent

AUTHZ_ID = "spiffe://example.org/authz"
SVID_SECONDS = 20
"""SPIRE renews such an SVID about five seconds after it was issued."""


def need_spire() -> None:
    """Skip the test, with the reason, where it is not asked for, or SPIRE or Envoy is absent.

    In CI a machine with Go has no excuse: what is asked for and absent there fails.
    """
    if not os.environ.get("AUTHZ_SPIRE"):
        pytest.skip("with real SPIRE, so in `make test-spire` alone: it takes minutes, and a build of SPIRE")
    try:
        find_spire()
        binary()
    except Unavailable as error:
        if os.environ.get("CI") == "true" and shutil.which("go"):
            pytest.fail(f"{error}, and there is Go to build it with")
        pytest.skip(str(error))


@contextlib.contextmanager
def spire_agent() -> Iterator[Agent]:
    """A SPIRE agent of example.org, federated with partner.example, to which every process of this Python is authz."""
    with contextlib.ExitStack() as stack:
        # Not pytest's own folder: a socket's path has 107 bytes at most.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authz-spire-"))).resolve()
        home, partner = (_started(stack, name, folder) for name in ("example.org", "partner.example"))
        home.federate_with(partner)
        home.admit_agent()
        federated = (partner.trust_domain,)
        home.register(
            [
                Workload(
                    spiffe_id=AUTHZ_ID, program=this_interpreter(), svid_seconds=SVID_SECONDS, federates_with=federated
                )
            ]
        )
        _start_agent(home)
        yield Agent(
            endpoint=f"unix://{home.socket}",
            spiffe_id=AUTHZ_ID,
            trust_domain=home.trust_domain,
            federated=federated,
            rotate=lambda: None,  # by itself, in time
            rotates_within_seconds=SVID_SECONDS,
            stop=home.stop_agent,
            start=lambda: _start_agent(home),
        )


def _started(stack: contextlib.ExitStack, name: str, folder: Path) -> SpireDomain:
    (folder / name).mkdir()
    domain = SpireDomain(name, folder / name, find_spire())
    stack.callback(domain.stop)
    domain.start_server()
    domain.wait_for_server()
    return domain


def _start_agent(domain: SpireDomain) -> None:
    domain.start_agent()
    domain.wait_for_agent()
