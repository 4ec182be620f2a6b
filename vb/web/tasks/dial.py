"""Connecting to a judged place, and to nothing else."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import httpx
import trio

from vb.web.errors import CannotConnect
from vb.web.place import Place

CONNECT_TIMEOUT_S: Final = 5.0
MAX_ADDRESSES: Final = 4
STAGGER_S: Final = 0.25
"""How much later the next address is tried while the one before it has neither answered nor failed."""


class Dialer:
    """Connects to places; all connections share one TLS context, which takes a tenth of a second to make.

    Args:
        tls: the context; made in a thread when it is first needed if None.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def prepare(self) -> ssl.SSLContext:
        """Return the TLS context; call it at the start, so that no request waits for it."""
        if self._tls is None:
            self._tls = await trio.to_thread.run_sync(new_tls_context)
        return self._tls

    async def __call__(self, place: Place) -> trio.abc.Stream:
        """Connect to the first address of a place that answers.

        An address that is slow to answer does not hold up the next: they race, a quarter of a second apart
        (RFC 8305 section 5), through the TLS handshake.

        Cancellation: nothing stays open.

        Raises:
            CannotConnect: no address answers, or not in time.
        """
        tls = await self.prepare() if place.secure else None
        if len(place.addresses) == 1:  # as mostly: nobody to race against
            with trio.move_on_after(CONNECT_TIMEOUT_S), suppress(OSError, trio.BrokenResourceError):
                stream = await _open(place, place.addresses[0], tls)
                try:
                    await trio.lowlevel.checkpoint_if_cancelled()
                except BaseException:
                    await trio.aclose_forcefully(stream)
                    raise
                return stream
            raise CannotConnect("cannot connect")
        race = _Race()
        try:
            await self._run(race, place, tls)
        except BaseException:
            if race.winner is not None:  # it was through at the moment of the cancellation
                await trio.aclose_forcefully(race.winner)
            raise
        if race.winner is None:
            raise CannotConnect("cannot connect")
        return race.winner

    @staticmethod
    async def _run(race: _Race, place: Place, tls: ssl.SSLContext | None) -> None:
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for address in place.addresses[:MAX_ADDRESSES]:
                    failed = trio.Event()
                    nursery.start_soon(race.run, partial(_open, place, address, tls), failed, nursery)
                    with trio.move_on_after(STAGGER_S):
                        await failed.wait()


class _Race:
    """Attempts of which the first that succeeds cancels the others."""

    def __init__(self) -> None:
        self.winner: trio.abc.Stream | None = None

    async def run(
        self, attempt: Callable[[], Awaitable[trio.abc.Stream]], failed: trio.Event, nursery: trio.Nursery
    ) -> None:
        try:
            stream = await attempt()
        except (OSError, trio.BrokenResourceError):
            failed.set()
            return
        if self.winner is None:
            self.winner = stream
            nursery.cancel_scope.cancel()
        else:  # both were through before either could be cancelled
            await trio.aclose_forcefully(stream)


async def _connect(address: str, port: int) -> trio.SocketStream:
    """Connect to an address, without looking for others of the same name."""
    sock = trio.socket.socket(trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET)
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def _open(place: Place, address: str, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    tcp = await _connect(address, place.port)
    if tls is None:
        return tcp
    name = place.host.rstrip(".")
    stream = trio.SSLStream(tcp, tls, server_hostname=name, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return stream


def new_tls_context() -> ssl.SSLContext:
    """Trust what the web trusts, and what the machine trusts: a server may be in-house. Blocks."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
