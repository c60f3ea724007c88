"""Many calls of all kinds on the fast lane: its memory and its descriptors stay what they were."""

import os
from collections import Counter
from pathlib import Path

import grpc

from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.support.servers import CHECK, free_port, serve
from tests.support.world import World

CALLS = int(os.environ.get("AUTHZ_SOAK_CALLS", "30000"))
AT_A_TIME = 100
ROOM_BYTES = 6 * 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def memory_of(pid: int) -> int:
    """Bytes that the process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def descriptors_of(pid: int) -> int:
    """How many files and sockets it has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Calls:
    """Rounds of calls: allowed from memory, denied, of tasks that nobody knows, malformed, and given up."""

    def __init__(self, world: World, channel: grpc.Channel) -> None:
        self._world, self._ask = world, channel.unary_unary(CHECK)
        self._good, self._bad = world.check(world.start_task().id), world.check(None)
        self._count = 0
        self.statuses = Counter[int]()

    def run(self, calls: int) -> None:
        """So many, some at a time, each with an answer that is what it should be."""
        for _ in range(calls // AT_A_TIME):
            futures = [self._ask.future(self._message(number), timeout=60) for number in range(AT_A_TIME)]
            for number, future in enumerate(futures):
                if number % 10 == 7:
                    future.cancel()
            for number, future in enumerate(futures):
                if number % 10 != 7:
                    answer = CheckResponse.FromString(future.result())
                    assert (answer.status.code == 0) == (number % 10 < 6)
                    self.statuses[answer.denied_response.status.code] += 1

    def _message(self, number: int) -> bytes:
        match number % 10:
            case 7 | 8:
                self._count += 1
                return self._world.check(f"0190aaaa-bbbb-7ccc-8ddd-{self._count:012}")
            case 6:
                return self._bad
            case 9:
                return self._good[: len(self._good) // 2]
            case _:
                return self._good


def test_memory_stays_flat(tmp_path: Path) -> None:
    """After a first part that fills what is bounded, the rest of the calls needs no more memory and no descriptor."""
    address = f"127.0.0.1:{free_port()}"
    settings = {"listen": address, "transport": "plaintext", "drain_seconds": 0, "lane": "fast"}
    world = World(tmp_path, settings={"server": settings})
    with serve(world.config_file, address) as running, running.channel() as channel:
        calls, pid = Calls(world, channel), running.process.pid
        calls.run(CALLS // 3)
        memory, descriptors = memory_of(pid), descriptors_of(pid)
        calls.run(CALLS - CALLS // 3)
        assert memory_of(pid) - memory < ROOM_BYTES
        assert descriptors_of(pid) <= descriptors + 2
        assert set(calls.statuses) == {0, 400, 403}
        assert "Traceback" not in running.log()
