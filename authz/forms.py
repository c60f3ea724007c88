"""Texts of a fixed form in a configuration: in goes what was written, out comes it, or what is wrong with it."""

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from authz.core.spiffe import NotASpiffeId, SpiffeId, check_trust_domain

_RULE_PATH = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+")
_OPA_PATH = re.compile(r"/v1/data(/[A-Za-z0-9_-]+)+")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_UNIX_PATH_BYTES = 107
_MAX_PORT = 65535
_HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")


def _address(text: str) -> str:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > _MAX_UNIX_PATH_BYTES:
            message = "a Unix socket is unix:/absolute/path, of at most {most} bytes"
            raise PydanticCustomError("address", message, {"most": _MAX_UNIX_PATH_BYTES})
        return text
    match = _ADDRESS.fullmatch(text)
    if not match or int(match[2]) > _MAX_PORT:
        raise PydanticCustomError("address", "an address is HOST:PORT or unix:/absolute/path")
    return text


def _trust_domain(name: str) -> str:
    try:
        return check_trust_domain(name)
    except NotASpiffeId as error:
        raise PydanticCustomError("trust_domain", "{why}", {"why": str(error)}) from error


def _spiffe_id(text: str) -> str:
    try:
        return SpiffeId.parse(text).uri
    except NotASpiffeId as error:
        raise PydanticCustomError("spiffe_id", "{why}", {"why": str(error)}) from error


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise PydanticCustomError("header", "a header name is lower-case letters, digits and dashes")
    return name


def _http_url(url: str) -> SplitResult | None:
    """The parts of a URL of a web server, without a user and a fragment; None for another text."""
    try:
        parts = urlsplit(url)
        is_url = bool(parts.hostname) and parts.port != 0 and not (parts.username or parts.fragment)
    except ValueError:
        return None
    return parts if is_url and parts.scheme in ("http", "https") and url.isascii() and url.isprintable() else None


def _is_beyond_this_machine(parts: SplitResult) -> bool:
    return parts.hostname not in ("127.0.0.1", "::1", "localhost")


def _opa_url(url: str) -> str:
    parts = _http_url(url)
    if parts is None or parts.query or not _OPA_PATH.fullmatch(parts.path):
        message = "write the URL of one rule, such as http://127.0.0.1:8181/v1/data/authz/decision"
        raise PydanticCustomError("opa_url", message)
    if parts.scheme == "http" and _is_beyond_this_machine(parts):
        raise PydanticCustomError("opa_url", "who stands between could allow anything: beyond this machine use https")
    return url


def _rule_path(path: str) -> str:
    if not _RULE_PATH.fullmatch(path):
        raise PydanticCustomError("rule", "write the path of one rule, such as data.authz.decision")
    return path


def _bundle_url(url: str) -> str:
    parts = _http_url(url)
    if parts is None or " " in url:
        message = "write the URL of an archive, such as https://policies.example.org/authz/bundle.tar.gz"
        raise PydanticCustomError("bundle_url", message)
    if parts.scheme == "http" and _is_beyond_this_machine(parts):
        raise PydanticCustomError(
            "bundle_url", "who stands between could hold new policies back: beyond this machine use https"
        )
    return url


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise PydanticCustomError(
            "digest", "write sha256: and 64 hexadecimal digits, as authz policy bundle prints them"
        )
    return text


Address = Annotated[str, AfterValidator(_address)]
TrustDomain = Annotated[str, AfterValidator(_trust_domain)]
SpiffeUri = Annotated[str, AfterValidator(_spiffe_id)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
RulePath = Annotated[str, AfterValidator(_rule_path)]
RuleUrl = Annotated[str, AfterValidator(_opa_url)]
BundleUrl = Annotated[str, AfterValidator(_bundle_url)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
