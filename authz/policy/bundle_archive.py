"""A gzipped tar in, its files by name out, or NotAnArchive; and back. Nothing is ever unpacked to a disk.

The form is POSIX's ustar (IEEE Std 1003.1, pax: "ustar Interchange Format"), read here rather than by a library: those
repair, extend and skip, and take a broken header for the end. Here each archive has one reading or none: plain files
and folders, each name once, sums that are right, and nothing behind the end.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping

MAX_ARCHIVE_BYTES = 4 * 1024 * 1024
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
MAX_FILES = 1000
MAX_NAME_CHARACTERS = 200

_BLOCK = 512
_NOTHING = bytes(_BLOCK)
_GZIP = 16 + zlib.MAX_WBITS
_FILES, _FOLDER = (b"0", b"\0"), b"5"
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_NAME = re.compile(r"[A-Za-z0-9_.@+=,-]+(/[A-Za-z0-9_.@+=,-]+)*")


class NotAnArchive(ValueError):
    """The bytes are no archive as this module reads them; the message says why."""


def read_archive(content: bytes) -> dict[str, bytes]:
    """Its files by name; raises NotAnArchive. One `/` or `./` before a name is no part of it, as OPA has it."""
    files: dict[str, bytes] = {}
    for count, (name, kind, held) in enumerate(_members(_unpacked(content)), start=1):
        if count > MAX_FILES:
            raise NotAnArchive(f"it holds more than {MAX_FILES} files")
        if kind == _FOLDER:
            continue
        if kind not in _FILES:
            raise NotAnArchive(f"{name[:80]!r} is a link, a device or an extension: only plain files are taken")
        plain = _plain(name)
        if plain in files:
            raise NotAnArchive(f"{plain} is in it twice")
        files[plain] = held
    return files


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files, always the same for the same names and contents; raises NotAnArchive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)  # of no time, and of nobody
            member.size = len(files[name])
            try:
                tar.addfile(member, io.BytesIO(files[name]))
            except ValueError as error:
                raise NotAnArchive(f"{name}: {error}") from error
    content = gzip.compress(packed.getvalue(), mtime=0)
    read_archive(content)  # what is written can be read, or is not written
    return content


def _unpacked(content: bytes) -> bytes:
    """The tar, of bounded size however much it would unpack to."""
    if len(content) > MAX_ARCHIVE_BYTES:
        raise NotAnArchive(f"it is longer than {MAX_ARCHIVE_BYTES} bytes")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacking.decompress(content, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise NotAnArchive(f"it is not gzip: {error}") from error
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise NotAnArchive(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    if not unpacking.eof:
        raise NotAnArchive("it was cut short")
    if unpacking.unused_data:
        raise NotAnArchive("something follows its end")
    return unpacked


def _members(tar: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, type and content of each member, in the order of the archive."""
    at = 0
    while (header := tar[at : at + _BLOCK]) != _NOTHING:
        if len(header) < _BLOCK:
            raise NotAnArchive("it has no end mark")
        if header[257:262] != b"ustar":
            raise NotAnArchive("it holds no tar of the ustar form")
        if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise NotAnArchive("the sum of a header is wrong")
        size, at = _number(header[124:136]), at + _BLOCK
        if at + size > len(tar):
            raise NotAnArchive("a file in it was cut short")
        kind = header[156:157]
        if kind != _FOLDER or size == 0:
            yield _name(header), kind, tar[at : at + size]
        else:
            raise NotAnArchive("a folder in it has a content")
        at += -(-size // _BLOCK) * _BLOCK
    if len(tar) - at < 2 * _BLOCK or tar.count(0, at) != len(tar) - at:
        raise NotAnArchive("it has no end mark, or something follows it")


def _number(field: bytes) -> int:
    matched = _OCTAL.fullmatch(field)
    if matched is None:
        raise NotAnArchive("a number in a header is not octal")
    return int(matched[1], 8)


def _name(header: bytes) -> str:
    """Name and prefix. GNU's tar keeps other things in the place of the prefix, and says so by its version."""
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:265] == b"ustar\x0000" else b""
    return (prefix + b"/" + name if prefix else name).decode("ascii", "backslashreplace")


def _plain(name: str) -> str:
    plain = name.removeprefix("./") if name.startswith("./") else name.removeprefix("/")
    parts = plain.split("/")
    if not _NAME.fullmatch(plain) or len(plain) > MAX_NAME_CHARACTERS or {".", ".."}.intersection(parts):
        raise NotAnArchive(f"{name[:80]!r} is not a plain relative name")
    return plain
