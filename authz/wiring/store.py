"""The task store alone, for commands that look at tasks and change them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authz.config import load_settings
from authz.core.memory import Memory
from authz.tasks.sqlite import SqliteTasks


@contextmanager
def open_task_store(config_file: Path) -> Iterator[SqliteTasks]:
    """The task store that the configuration names, for a command's one use."""
    settings = load_settings(config_file)
    store = SqliteTasks(settings.tasks.sqlite_file, Memory(settings.tasks.max_remembered))
    try:
        yield store
    finally:
        asyncio.run(store.close())
