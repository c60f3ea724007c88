"""Policy bundles: the settings in, what follows the bundles of their place out."""

import asyncio
import logging
import random
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from authz.bundle_settings import BundleSettings
from authz.core.errors import Place
from authz.policy.bundle import Terms
from authz.policy.bundle_cache import BundleCache
from authz.policy.bundle_fetch import Fetcher, FileFetcher, HttpFetcher
from authz.policy.bundle_keys import read_public_keys
from authz.policy.bundle_source import BundleSource
from authz.policy.files import PolicyFile
from authz.wiring.giving_way import giving_way

_SPREAD = 0.1
"""Of the time between two polls: replicas that were started together do not ask together."""

_log = logging.getLogger("authz.bundle")


def bundle_source(bundle: BundleSettings) -> BundleSource:
    """The bundles of that place; none is fetched yet."""
    fetcher: Fetcher
    if bundle.file is not None:
        fetcher, place = FileFetcher(bundle.file), Place(bundle.file)
    else:
        url = bundle.url or ""
        fetcher = HttpFetcher(url, bundle.timeout_seconds, bundle.authorities_file, bundle.token_file)
        place = Place(Path(urlsplit(url).netloc, *PurePosixPath(urlsplit(url).path).parts[1:]))
    cache = BundleCache(bundle.cache_file) if bundle.cache_file else None
    return BundleSource(fetcher, place, lambda: terms_of(bundle), cache)


def terms_of(bundle: BundleSettings) -> Terms:
    """What must hold of a bundle, as its files say now; raises Unusable."""
    digest = (bundle.digest or "").removeprefix("sha256:")
    if bundle.public_keys_file is None:
        return Terms(None, digest)
    version = PolicyFile.read(bundle.public_keys_file).sha256
    return Terms(read_public_keys(bundle.public_keys_file), digest, bundle.scope, version)


def bundle_of(origin: object) -> str:
    """Which bundle the policies were read from, for people; empty where they come from elsewhere."""
    return str(origin.newest) if isinstance(origin, BundleSource) else ""


async def poll(bundles: BundleSource) -> None:
    """Look once what is published, while checks go on."""
    with giving_way():
        await asyncio.to_thread(bundles.poll)


async def follow(bundles: BundleSource, poll_seconds: float) -> None:
    """Look again and again what is published, until cancelled."""
    while True:
        await asyncio.sleep(poll_seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311  nobody gains by guessing it
        try:
            await poll(bundles)
        except Exception:  # noqa: BLE001  what follows outlives whatever one poll meets
            _log.exception("it could not be looked what is published; the bundle in force stays")
