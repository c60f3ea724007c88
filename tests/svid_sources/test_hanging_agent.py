"""An agent that hangs with its streams open is as lost as one that is gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.workload_api import following, until

AGENT = """
import sys
from pathlib import Path
from authz.demo.ca import DevelopmentCa
from authz.demo.workload_api import DevelopmentWorkloadApi
api = DevelopmentWorkloadApi(Path(sys.argv[1]), "spiffe://example.org/authz", DevelopmentCa("example.org"))
api.start()
print(api.endpoint, flush=True)
sys.stdin.read()
api.stop()
"""


def test_an_agent_that_hangs_is_lost_and_is_fresh_when_it_goes_on(tmp_path: Path) -> None:
    """A stopped process answers no ping: its bundles begin to age, and no later than its next word they are fresh."""
    command = [sys.executable, "-c", AGENT, str(tmp_path / "api.sock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        endpoint = agent.stdout.readline().strip()

        async def story() -> None:
            async with following(endpoint, "example.org", with_jwt=False, ping_seconds=1) as followed:
                os.kill(agent.pid, signal.SIGSTOP)
                await until(lambda: followed.feed.lost_at_ns is not None, 30)
                assert {"example.org"} == followed.domains
                os.kill(agent.pid, signal.SIGCONT)
                await until(lambda: followed.feed.lost_at_ns is None, 30)

        try:
            asyncio.run(story())
        finally:
            os.kill(agent.pid, signal.SIGCONT)
            agent.communicate(timeout=10)
