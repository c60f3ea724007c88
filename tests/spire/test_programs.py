"""How SPIRE's programs are found and built, and how programs get paths of their own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from authz.core.errors import Unavailable
from authz.demo.spire_domain import Workload
from authz.demo.spire_programs import find_spire, this_interpreter, under_own_path

ROOT = Path(__file__).parents[2]
NAMES = ("spire-server", "spire-agent")


def programs_in(folder: Path) -> None:
    """Executable files of SPIRE's names."""
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).touch(mode=0o755)


def test_what_make_built_comes_before_what_the_path_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs in the cache folder are taken, else those on the PATH."""
    monkeypatch.setenv("AUTHZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    programs_in(tmp_path / "path")
    assert find_spire().agent == tmp_path / "path" / "spire-agent"
    programs_in(tmp_path / "cache" / "spire" / "bin")
    assert find_spire().agent == tmp_path / "cache" / "spire" / "bin" / "spire-agent"


def test_without_a_cache_folder_of_its_own_it_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AUTHZ_CACHE names no folder, what was built once is found from every checkout of the user's."""
    monkeypatch.delenv("AUTHZ_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, cache in {"XDG_CACHE_HOME": tmp_path / "caches", "": tmp_path / ".cache"}.items():
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if variable:
            monkeypatch.setenv(variable, str(cache))
        programs_in(cache / "authz" / "spire" / "bin")
        assert find_spire().server == cache / "authz" / "spire" / "bin" / "spire-server"


def test_absent_programs_are_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SPIRE the demo says what to run, and does not begin."""
    monkeypatch.setenv("AUTHZ_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="make spire"):
        find_spire()


def test_a_build_without_go_says_so(tmp_path: Path) -> None:
    """`make spire` on a machine without Go ends with a message that names Go, and builds nothing."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "cksum", "dirname", "mkdir", "sed", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "")
    command = [ROOT / "tools" / "build-spire", tmp_path / "bin"]
    ended = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "there is no go on the PATH" in ended.stderr
    assert list((tmp_path / "bin").iterdir()) == []


def test_a_program_is_known_by_its_own_path(tmp_path: Path) -> None:
    """The kernel shows a process of the program under the path that we gave it, which is what SPIRE attests."""
    program = under_own_path(Path(shutil.which("sleep") or ""), tmp_path, "workload")
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert Path(f"/proc/{process.pid}/exe").readlink() == program
        finally:
            process.kill()


def test_where_a_link_cannot_be_made_the_program_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across file systems a program gets its own path too."""
    monkeypatch.setattr(Path, "hardlink_to", _cannot)
    original = Path(shutil.which("sleep") or "").resolve()
    program = under_own_path(original, tmp_path, "workload")
    assert program.read_bytes() == original.read_bytes()
    assert os.access(program, os.X_OK)


def _cannot(*_: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_our_interpreter_is_a_file_and_no_link() -> None:
    """What authz is attested by is the executable that runs, not the link in a virtual environment."""
    assert this_interpreter().is_file()
    assert not this_interpreter().is_symlink()


def test_svids_that_could_expire_before_they_are_renewed_are_refused() -> None:
    """A registration with a life too short for SPIRE to renew it in time is an error, not a mesh that fails later."""
    with pytest.raises(ValueError, match="may expire before"):
        Workload(spiffe_id="spiffe://example.org/x", program=Path("/bin/true"), svid_seconds=5)
