"""A relay for clients that cannot be held to one version of TLS: plain text in, that version alone out."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from authz.demo.ca import Certificate


@contextlib.contextmanager
def tls_relay(version: ssl.TLSVersion, to_port: int, bundle_file: Path, shown: Certificate) -> Iterator[str]:
    """The address of a relay to `localhost:to_port` that shows this certificate, until the block ends."""
    context = ssl.create_default_context(cafile=str(bundle_file))
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(*shown.write(bundle_file.parent, f"relay-{version.name}"))
    stop, ready = threading.Event(), threading.Event()
    address: list[str] = []
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        connections.add(this)
        far_reader, far_writer = await asyncio.open_connection("localhost", to_port, ssl=context)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()
            writer.transport.abort()

    async def relay() -> None:
        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            address.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            ready.set()
            while not stop.is_set():  # noqa: ASYNC110  who sets it is in another thread
                await asyncio.sleep(0.02)
            for each in connections:
                each.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await asyncio.sleep(0.1)  # in which the loop lets go of the sockets

    thread = threading.Thread(target=lambda: asyncio.run(relay()))
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        stop.set()
        thread.join()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
