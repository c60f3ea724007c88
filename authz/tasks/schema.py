"""The schema of the embedded task store, and the proof that a file holds it.

In goes an open connection; out comes nothing, or Unusable. Migrations only add, because servers of the version before
may be running on the file; each is a tuple of statements that brings `PRAGMA user_version` up by one.
"""

import sqlite3
from pathlib import Path

from authz.core.errors import Place, Problem, Unusable

APPLICATION_ID = 0x61757A74  # "auzt": tells our files from other programs' SQLite files

EVERYTHING = ""
"""In place of a task id in the change log: anything may have changed."""

# The first row of the change log is there from the beginning, so that the log is never empty and its newest row is
# always a place from which it can be read on.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE task (
            id TEXT PRIMARY KEY,
            state INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL) STRICT",
        f"INSERT INTO change (task) VALUES ('{EVERYTHING}')",  # noqa: S608  a constant of ours
    ),
    (
        # Sessions, budgets and approvals. A session's facts stand on the task that was started.
        "ALTER TABLE task ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN txn TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE task ADD COLUMN high_water INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN untrusted INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN active_ms INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN spent INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN last_hop TEXT NOT NULL DEFAULT ''",
        "CREATE UNIQUE INDEX task_txn ON task (txn) WHERE txn != ''",
        "CREATE INDEX task_expires ON task (expires_ms)",
        """
        CREATE TABLE seen (
            task TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (task, kind, value)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE request (
            task TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            digest TEXT NOT NULL,
            document TEXT NOT NULL,
            place INTEGER NOT NULL,
            rejected INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (task, digest)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE approval (
            task TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            id TEXT NOT NULL,
            digest TEXT NOT NULL,
            kind TEXT NOT NULL,
            approver TEXT NOT NULL,
            expires_ms INTEGER NOT NULL,
            hop TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (task, id)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE spend (
            task TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            hop TEXT NOT NULL,
            PRIMARY KEY (task, hop)
        ) STRICT, WITHOUT ROWID
        """,
    ),
)

SCHEMA_VERSION = len(_MIGRATIONS)


def bring_up_to_date(connection: sqlite3.Connection, file: Path) -> None:
    """Create the schema in an empty file, or extend an older one; raises Unusable. The caller holds the write lock."""
    if not _is_empty(connection):
        must_be_ours(connection, file)
    mode = _pragma(connection, "journal_mode=WAL")
    if mode != "wal":
        what = f"SQLite cannot keep a write-ahead log here (its journal mode stays {mode!r})"
        raise Unusable(Problem(Place(file), what, "Name a file on a local file system."))
    version = int(_pragma(connection, "user_version"))
    if version < SCHEMA_VERSION:
        _migrate(connection, version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def must_be_ours(connection: sqlite3.Connection, file: Path) -> None:
    """The file holds a task store of a version that we know; raises Unusable."""
    if int(_pragma(connection, "application_id")) != APPLICATION_ID:
        raise Unusable(Problem(Place(file), "this SQLite file is not a task store", "Name another file."))
    version = int(_pragma(connection, "user_version"))
    if not 0 < version <= SCHEMA_VERSION:
        raise Unusable(
            Problem(
                Place(file),
                f"the task store has schema version {version}; this program knows versions up to {SCHEMA_VERSION}",
                "Run the version of authz that wrote it, or a later one.",
            )
        )


def _is_empty(connection: sqlite3.Connection) -> bool:
    [(objects,)] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return not objects and _pragma(connection, "user_version") == 0


def _pragma(connection: sqlite3.Connection, text: str) -> str | int:
    [(value,)] = connection.execute(f"PRAGMA {text}").fetchall()
    found: str | int = value
    return found
