"""Texts of a fixed form in a configuration: in goes what was written, out comes it, or what is wrong with it."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from authz.core.spiffe import NotASpiffeId, SpiffeId, check_trust_domain

_RULE_PATH = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+")
_OPA_PATH = re.compile(r"/v1/data(/[A-Za-z0-9_-]+)+")
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


def _opa_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_url = bool(parts.hostname) and parts.port != 0 and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        is_url = False
    if not is_url or parts.scheme not in ("http", "https") or not _OPA_PATH.fullmatch(parts.path):
        message = "write the URL of one rule, such as http://127.0.0.1:8181/v1/data/authz/decision"
        raise PydanticCustomError("opa_url", message)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise PydanticCustomError("opa_url", "who stands between could allow anything: beyond this machine use https")
    return url


def _rule_path(path: str) -> str:
    if not _RULE_PATH.fullmatch(path):
        raise PydanticCustomError("rule", "write the path of one rule, such as data.authz.decision")
    return path


Address = Annotated[str, AfterValidator(_address)]
TrustDomain = Annotated[str, AfterValidator(_trust_domain)]
SpiffeUri = Annotated[str, AfterValidator(_spiffe_id)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
RulePath = Annotated[str, AfterValidator(_rule_path)]
RuleUrl = Annotated[str, AfterValidator(_opa_url)]
