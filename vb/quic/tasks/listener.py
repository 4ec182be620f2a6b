"""The driver of an endpoint: one task receives for all connections, one keeps the time for all of them."""

from __future__ import annotations

import datetime
import logging
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import trio

from vb.errors import ConfigError
from vb.metrics import Reading
from vb.quic.certificate import CertificateError, Identity, make_identity, read_identity
from vb.quic.grid import grid_after
from vb.quic.session import Accept
from vb.quic.tasks.socket import Address, QuicSocket
from vb.self_signed import SERIAL_BITS

if TYPE_CHECKING:
    from vb.quic.endpoint import Endpoint

log = structlog.get_logger(__name__)

_KEY_BYTES: Final = 32
_LOOK_S: Final = 3600.0
"""How often the age of the certificate is looked at."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Where and as whom a listener serves.

    Attributes:
        addr: `host:port`, `:port` or `[ipv6]:port`.
        certificate_file, key_file: PEM; both empty make a certificate of our own.
        path: where sessions are asked for.
        protocols: names of what is spoken in them, the best first.
        instance_id: named in the bodies of refusals.
    """

    addr: str
    certificate_file: str
    key_file: str
    path: str
    protocols: tuple[str, ...]
    instance_id: str


class Listener:
    """A bound UDP port on which WebTransport is served while `run` runs.

    Attributes:
        identity: its certificate.
    """

    def __init__(
        self, socket: QuicSocket, identity: Identity, make: Callable[[Callable[[], None]], Endpoint]
    ) -> None:
        self.identity = identity
        self._socket = socket
        self._endpoint = make(self._wake)
        self._woken = trio.Event()
        self._sleeps_until = math.inf
        self._in_turn = False

    @property
    def address(self) -> tuple[str, int]:
        """Bound host and port."""
        return self._socket.address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Cancellation: every session ends with a close capsule and every connection says goodbye, at once.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive)
                nursery.start_soon(self._keep_time)
                if self.identity.self_made:
                    nursery.start_soon(self._renew)
                task_status.started()
        finally:
            self._in_turn = True
            self._flush()
            self._endpoint.close()
            self._flush()
            self._socket.close()

    def close(self) -> None:
        """Let go of the port of a listener that never ran."""
        self._socket.close()

    def _wake(self) -> None:
        if not self._in_turn:
            self._woken.set()

    async def _receive(self) -> None:
        while True:
            await self._socket.wait()
            greetings = self._endpoint.greetings
            while self._receive_some():
                greetings, before = self._endpoint.greetings, greetings
                await self._pause(is_greeting=greetings > before)

    def _receive_some(self) -> int:
        """Take what has come, and send what comes of it; returns how many datagrams there were."""
        self._in_turn = True
        taken = self._socket.take(self._take)
        self._flush()
        self._in_turn = False
        if self._endpoint.deadline() < self._sleeps_until:
            self._woken.set()
        return taken

    async def _pause(self, *, is_greeting: bool) -> None:
        """Let some more come: to wake up for each datagram costs more than to read it.

        Handshakes that go on are not kept waiting, and a full batch is followed by the next.
        """
        if self._socket.is_drained and not is_greeting:
            await trio.sleep_until(grid_after(trio.current_time()))
        else:
            await trio.lowlevel.checkpoint()

    def _take(self, data: bytes, source: Address) -> None:
        self._endpoint.receive(data, source, trio.current_time())

    async def _keep_time(self) -> None:
        while True:
            self._sleeps_until = self._endpoint.deadline()
            with trio.move_on_at(self._sleeps_until):
                await self._woken.wait()
            self._woken = trio.Event()
            self._in_turn = True
            self._endpoint.expire(trio.current_time())
            self._flush()
            self._in_turn = False

    def _flush(self) -> None:
        self._socket.send(self._endpoint.outgoing(trio.current_time()))

    async def _renew(self) -> None:
        from vb.quic.configuration import server_configuration

        while True:
            await trio.sleep(_LOOK_S)
            if datetime.datetime.now(datetime.UTC) >= self.identity.renew_at:
                self.identity = _own_identity()
                self._endpoint.configuration = server_configuration(self.identity)

    def readings(self) -> Iterator[Reading]:
        """Give the figures of the listener for the metrics."""
        endpoint = self._endpoint
        yield "quic_connections", "Connections of WebTransport, handshakes included", endpoint.connections, {}
        yield "quic_handshakes", "Connections that are still at their handshake", endpoint.handshakes, {}
        yield "quic_sessions", "Sessions of WebTransport", endpoint.sessions, {}
        yield "quic_opened", "Connections whose handshake was done", endpoint.opened, {}
        yield "quic_refused_requests", "Requests that got no session", endpoint.refused, {}
        text = "Streams that were given up because nobody took them"
        yield "quic_overruns", text, endpoint.overruns, {}
        yield "quic_unsent", "Datagrams that the network refused", self._socket.unsent, {}
        text = "Handshakes that failed, by reason"
        yield from _by("quic_handshakes_failed", text, "reason", endpoint.failures)
        yield from _by("quic_dropped", "Datagrams that were dropped, by reason", "reason", endpoint.dropped)
        text = "Datagrams that strangers and lost peers got, by kind"
        yield from _by("quic_answers", text, "kind", endpoint.answered)


def _by(name: str, text: str, label: str, counts: Mapping[str, int]) -> Iterator[Reading]:
    for value, count in counts.items():
        yield name, text, count, {label: value}


async def make_listener(
    settings: ListenerSettings, accept: Accept, count_fault: Callable[[str], None]
) -> Listener:
    """Read or make the certificate and bind the port.

    Args:
        settings: where and as whom.
        accept: decides about requests for sessions.
        count_fault: told the site of each fault of ours that was contained: connection or session.

    Raises:
        ConfigError: the extra is not installed, or the certificate cannot be used.
        OSError: the address cannot be bound; the message names it.
    """
    try:
        from vb.quic.configuration import server_configuration
        from vb.quic.endpoint import Endpoint
        from vb.quic.requests import Site
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("aioquic", "pylsqpack"):
            raise
        raise ConfigError("MOQ_ENABLED: the extra moq is not installed: pip install vb[moq]") from None
    # What strangers break is counted; a line for each of them would be theirs to fill the log with.
    logging.getLogger("quic").setLevel(logging.ERROR)
    identity = await _identity(settings)

    def make(wake: Callable[[], None]) -> Endpoint:
        return Endpoint(
            server_configuration(identity),
            accept,
            Site(settings.path, settings.protocols, settings.instance_id),
            draw=secrets.token_bytes,
            key=secrets.token_bytes(_KEY_BYTES),
            wake=wake,
            count_fault=count_fault,
        )

    return Listener(QuicSocket(settings.addr, "MOQ_LISTEN_ADDR"), identity, make)


async def _identity(settings: ListenerSettings) -> Identity:
    names = "MOQ_TLS_CERT_FILE, MOQ_TLS_KEY_FILE"
    if not settings.certificate_file and not settings.key_file:
        return _own_identity()
    if not settings.certificate_file or not settings.key_file:
        raise ConfigError(f"{names}: one needs the other")
    try:
        certificates = await trio.Path(settings.certificate_file).read_bytes()
        key = await trio.Path(settings.key_file).read_bytes()
        return read_identity(certificates, key)
    except OSError as exc:
        raise ConfigError(f"{names}: {exc.strerror}: {exc.filename}") from None
    except CertificateError as exc:
        raise ConfigError(f"{names}: {exc}") from None


def _own_identity() -> Identity:
    identity = make_identity(datetime.datetime.now(datetime.UTC), secrets.randbits(SERIAL_BITS) + 1)
    until = identity.certificate.not_valid_after_utc.isoformat()
    log.info("own certificate for WebTransport", sha256=identity.sha256.hex(), until=until)
    return identity
