"""The embedded store: what is accepted as a store's file, and what is refused with its remedy."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.core.errors import Unusable
from authz.tasks.schema import APPLICATION_ID, SCHEMA_VERSION
from tests.tasks.nodes import foreign, kept, make_task, node_on, open_files

NOBODY = 65534  # a user that owns nothing


def problem_with(file: Path) -> str:
    """Why the file cannot be used as a store, with its remedy."""
    with pytest.raises(Unusable) as caught, node_on(file):
        pass
    (problem,) = caught.value.problems
    assert problem.place.file == file
    assert problem.remedy
    return f"{problem.what} {problem.remedy}"


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Without the superuser's right to write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


def test_a_new_file_gets_the_schema(file: Path) -> None:
    """A store is made where there is none: in WAL mode, marked as ours, with the version of its schema."""
    with node_on(file), foreign(file) as connection:
        pragmas = ("journal_mode", "application_id", "user_version")
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert found == ["wal", APPLICATION_ID, SCHEMA_VERSION]


def test_what_was_put_is_there_when_the_file_is_opened_again(file: Path) -> None:
    """Closing the last node loses nothing."""
    with node_on(file) as node:
        task = kept(node)
    with node_on(file) as node:
        assert task == node.finds(task.id)


def test_many_may_be_the_first_to_open_it(file: Path) -> None:
    """Eight openers of a file that does not exist yet make one store, and none fails."""
    outcomes: list[object] = []

    def open_once() -> None:
        try:
            with node_on(file) as node:
                node.put(make_task())
            outcomes.append(None)
        except Exception as error:  # noqa: BLE001  shown below
            outcomes.append(error)

    threads = [threading.Thread(target=open_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with node_on(file) as node:
        assert len(node.list()) == 8
    assert outcomes == [None] * 8


def test_an_empty_file_becomes_a_store(file: Path) -> None:
    """A file of no bytes, as `touch` makes it, is as good as none."""
    file.touch()
    with node_on(file) as node:
        kept(node)


def test_a_path_that_means_something_in_an_address_is_only_a_path(tmp_path: Path) -> None:
    """Spaces, `?`, `%` and `#` in the name are part of the name."""
    file = tmp_path / "a b?mode=memory%23#.db"
    with node_on(file) as node:
        kept(node)
    assert file.is_file()


def test_a_link_and_its_target_are_one_store(file: Path, tmp_path: Path) -> None:
    """Two processes that name the file by different paths see each other's changes and take turns."""
    link = tmp_path / "link.db"
    link.symlink_to(file)
    with node_on(file) as here, node_on(link) as there:
        task = kept(here)
        there.end(task.id)
        assert here.remembers(task.id) is None
    assert [file.with_name("tasks.db.lock")] == list(tmp_path.glob("*.lock"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The folder must be there; a typing error must not make a new store somewhere else."""
    found = problem_with(tmp_path / "missing" / "tasks.db")
    assert str(tmp_path / "missing") in found


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    """Another file of the operator's is refused and left as it was."""
    content = "owner: alice\n" * 1000
    file.write_text(content)
    assert "not a database" in problem_with(file)
    assert content == file.read_text()


def test_a_folder_is_refused(file: Path) -> None:
    """A folder in place of the file is refused."""
    file.mkdir()
    assert "unable to open" in problem_with(file)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_another_programs_database_is_refused(file: Path, version: int) -> None:
    """A SQLite file that is not ours is refused, and is not even switched to WAL."""
    with foreign(file) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")
        connection.execute(f"PRAGMA user_version={version}")
    assert "not a task store" in problem_with(file)
    with foreign(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_newer_schema_is_refused(file: Path) -> None:
    """A store that a later version has migrated is not touched by this one."""
    with node_on(file), foreign(file) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    found = problem_with(file)
    assert f"version {SCHEMA_VERSION + 1}" in found


def test_a_folder_without_the_right_to_write_is_refused() -> None:
    """A store needs its log and its lock beside the file; where it may not make them it says so at once."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with unprivileged():
            assert "writable" in problem_with(Path(folder) / "tasks.db")


def test_a_store_that_cannot_be_opened_leaves_nothing_open(file: Path) -> None:
    """A refusal closes what it opened: no warning about a forgotten connection follows."""
    file.write_bytes(b"x" * 4096)
    before = open_files()
    problem_with(file)
    assert before == open_files()
