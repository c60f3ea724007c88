"""A process that writes to a task store until it is killed, and says on standard output what was acknowledged.

python -m tests.tasks.writer_process FILE busy    wait for a line; put tasks, and end every other one
python -m tests.tasks.writer_process FILE inside  write within a transaction, and stay there
python -m tests.tasks.writer_process FILE end     end the tasks whose ids come on standard input
"""

import contextlib
import itertools
import sys
import time
from pathlib import Path

from authz.core.memory import Memory
from authz.tasks.sqlite import SqliteTasks
from tests.tasks.nodes import make_task


def _busy(store: SqliteTasks) -> None:
    print("ready", flush=True)  # noqa: T201  for whoever times the beginning
    sys.stdin.readline()
    for number in itertools.count():
        task = make_task()
        store.put(task)
        print("put", task.id, flush=True)  # noqa: T201  the acknowledgement
        if number % 2:
            store.end(task.id)
            print("end", task.id, flush=True)  # noqa: T201  as above


def _inside(store: SqliteTasks) -> None:
    with store._writer.transaction() as connection:
        connection.execute("UPDATE task SET state = 1")
        connection.execute("INSERT INTO change (task) VALUES ('')")
        print("inside", flush=True)  # noqa: T201  as above
        time.sleep(60)


def _end(store: SqliteTasks) -> None:
    for line in sys.stdin:
        store.end(line.strip())
        print("end", line.strip(), flush=True)  # noqa: T201  as above


if __name__ == "__main__":
    file, what = sys.argv[1:]
    with contextlib.closing(SqliteTasks(Path(file), Memory(1))) as opened:
        {"busy": _busy, "inside": _inside, "end": _end}[what](opened)
