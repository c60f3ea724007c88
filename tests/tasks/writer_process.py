"""What other processes do to a task store until they are killed; what was acknowledged comes back through a pipe."""

import contextlib
import itertools
import time
from multiprocessing.connection import Connection
from pathlib import Path

from authz.core.memory import Memory
from authz.tasks.sqlite import SqliteTasks
from tests.tasks.nodes import make_task

Acknowledged = tuple[str, str]
"""What was done, to which task."""


def put_and_end(file: Path, pipe: Connection) -> None:
    """Put tasks, and end every other one, without a pause."""
    with contextlib.closing(SqliteTasks(file, Memory(1))) as store:
        for number in itertools.count():
            task = make_task()
            store.put(task)
            pipe.send(("put", task.id))
            if number % 2:
                store.end(task.id)
                pipe.send(("end", task.id))


def stay_inside(file: Path, pipe: Connection) -> None:
    """Write within a transaction, and stay there."""
    with contextlib.closing(SqliteTasks(file, Memory(1))) as store, store._writer.transaction() as connection:
        connection.execute("UPDATE task SET state = 1")
        connection.execute("INSERT INTO change (task) VALUES ('')")
        pipe.send(("inside", ""))
        time.sleep(60)


def end_what_is_named(file: Path, pipe: Connection) -> None:
    """End the tasks whose ids come through the pipe."""
    with contextlib.closing(SqliteTasks(file, Memory(1))) as store, contextlib.suppress(EOFError):
        while True:
            task_id = pipe.recv()
            store.end(task_id)
            pipe.send(("end", task_id))
