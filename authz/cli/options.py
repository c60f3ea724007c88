"""Options that several commands share, and the kinds of values they take."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from authz.core.spiffe import NotASpiffeId, SpiffeId
from authz.core.task import Grant, NotAGrant

_F = TypeVar("_F", bound=Callable[..., Any])

config_option: Callable[[_F], _F] = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("authz.yaml"),
    show_default=True,
    envvar="AUTHZ_CONFIG",
    show_envvar=True,
    help="The configuration file.",
)

json_option: Callable[[_F], _F] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")

policies_option: Callable[[_F], _F] = click.option(
    "--policy",
    "policies",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="A folder, file or bundle of policies instead; may be repeated.",
)
catalog_option: Callable[[_F], _F] = click.option(
    "--catalog", "catalog_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A catalog instead."
)
rule_option: Callable[[_F], _F] = click.option(
    "--rule",
    default="",
    metavar="PATH",
    help="Of policies in Rego, the rule that decides, such as data.authz.decision.",
)
group_option: Callable[[_F], _F] = click.option(
    "--group", "groups", multiple=True, metavar="NAME=SPIFFE_ID", help="One of a group's agents; may be repeated."
)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A number with a unit: 90s, 15m, 8h, 2d. The value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  click's signature
        """The seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(value)
        if not match:
            self.fail(f"{value!r} is not a duration: write 90s, 15m, 8h or 2d", param, ctx)
        return float(match[1]) * UNIT_SECONDS[match[2]]


class Moment(click.ParamType[float]):
    """An instant in RFC 3339: 2026-11-25T13:00:00Z. The value is in Unix seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  click's signature
        """The Unix seconds."""
        if isinstance(value, float):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time: write 2026-11-25T13:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: end it with Z, or with an offset", param, ctx)
        return moment.timestamp()


class SpiffeIdType(click.ParamType[SpiffeId]):
    """A SPIFFE ID, strictly."""

    name = "spiffe-id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SpiffeId:  # noqa: ANN401  click's signature
        """The parsed id."""
        try:
            return SpiffeId.parse(value)
        except NotASpiffeId as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class GrantType(click.ParamType[Grant]):
    """A grant: WHAT[,WHAT...]:DATASET[,DATASET...]."""

    name = "grant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Grant:  # noqa: ANN401  click's signature
        """The parsed grant."""
        try:
            return Grant.parse(value)
        except NotAGrant as error:
            self.fail(str(error), param, ctx)


def shown_time(unix_seconds: float) -> str:
    """An instant for people and machines, in UTC to the second."""
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
