"""docs/bundles.md shows what the commands print, every setting, and limits as they are."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from authz.bundle_settings import BundleSettings
from authz.policy.bundle import MAX_AHEAD_SECONDS
from authz.policy.bundle_archive import MAX_ARCHIVE_BYTES, MAX_FILES, MAX_UNPACKED_BYTES
from tests.support.bundles import SIGNER, jwks
from tests.support.commands import authz
from tests.support.opa import opa_program
from tests.support.world import World

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "bundles.md").read_text()
CHANGING = re.compile(r"sha256:[0-9a-f]{64}|\d{4}-\d\d-\d\dT\S+Z|(?<=by )\S{43}|(?<=ES256, )\S{43}|\d+(?= bytes)")


def steady(text: str) -> str:
    """Without keys, digests and times, which are others each time."""
    return CHANGING.sub("...", text)


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page, run in turn in one folder, prints what the page says."""
    World(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = shown.partition("\n")
        program, *arguments = shlex.split(command)
        ended = authz(*arguments)
        assert program == "authz"
        assert steady(ended.out + ended.err) == steady(printed)


def test_the_page_has_every_setting() -> None:
    """Each is shown, with its default."""
    shown, _pinned = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found = yaml.safe_load(shown)["policy"]["bundle"]
    assert found.keys() == BundleSettings.model_fields.keys()
    for key, field in BundleSettings.model_fields.items():
        if isinstance(field.default, int | float | str):
            assert found[key] == field.default, key


def test_the_pages_configurations_are_taken(tmp_path: Path) -> None:
    """Both examples, as they stand."""
    (tmp_path / "keys.json").write_text("{}")
    for shown in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        settings = yaml.safe_load(shown)["policy"]["bundle"]
        assert BundleSettings.model_validate(settings, context={"folder": tmp_path}, strict=False)


def test_the_page_tells_the_limits_as_they_are() -> None:
    """The figures of the table are those of the code."""
    mebibyte = 1024 * 1024
    sizes = f"{MAX_ARCHIVE_BYTES // mebibyte} MiB, {MAX_UNPACKED_BYTES // mebibyte} MiB unpacked"
    assert f"{sizes}, {MAX_FILES:,} entries" in PAGE
    assert MAX_AHEAD_SECONDS == 5 * 60
    assert "five minutes" in PAGE


def test_what_the_page_says_of_opa_makes_a_bundle(tmp_path: Path) -> None:
    """The commands of the page, run as they stand, make a bundle that is proven."""
    World(tmp_path)
    (tmp_path / "key.pem").write_bytes(SIGNER.as_pem(private=True))
    (tmp_path / "keys.json").write_text(jwks(SIGNER))
    (block,) = re.findall(r"^```\n(cd policies.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path = f"{Path(opa_program()).parent}:/usr/bin:/bin"
    subprocess.run([str(shutil.which("sh")), "-ec", block], cwd=tmp_path, check=True, env={"PATH": path})
    ended = authz("policy", "bundle-verify", tmp_path / "bundle.tar.gz", "--public-keys", tmp_path / "keys.json")
    assert ended.status == 0, ended.err
    assert "by release" in ended.out
