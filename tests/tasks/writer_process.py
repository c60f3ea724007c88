"""What other processes do to a task store until they are killed; what was acknowledged comes back through a pipe."""

import contextlib
import itertools
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.tasks.nodes import make_task, node_on, store_of

Acknowledged = tuple[str, str]
"""What was done, to which task."""


def put_and_end(file: Path, pipe: Connection) -> None:
    """Put tasks, and end every other one, without a pause."""
    with node_on(file) as node:
        for number in itertools.count():
            task = make_task()
            node.put(task)
            pipe.send(("put", task.id))
            if number % 2:
                node.end(task.id)
                pipe.send(("end", task.id))


def stay_inside(file: Path, pipe: Connection) -> None:
    """Write within a transaction, and stay there."""
    with node_on(file) as node, store_of(node)._writer.transaction() as connection:
        connection.execute("UPDATE task SET state = 1")
        connection.execute("INSERT INTO change (task) VALUES ('')")
        pipe.send(("inside", ""))
        time.sleep(60)


def end_what_is_named(file: Path, pipe: Connection) -> None:
    """End the tasks whose ids come through the pipe."""
    with node_on(file) as node, contextlib.suppress(EOFError):
        while True:
            task_id = pipe.recv()
            node.end(task_id)
            pipe.send(("end", task_id))
