"""The driver on loopback sockets, with another implementation's client."""

from __future__ import annotations

import datetime
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from conformance.peers.webtransport import open_webtransport
from tests.quic.world import Peer
from vb.errors import ConfigError
from vb.quic.certificate import make_identity
from vb.quic.grid import grid_after
from vb.quic.session import Receiver, Refusal, Request, Session
from vb.quic.tasks import Listener, ListenerSettings, make_listener

pytestmark = pytest.mark.integration

PATH = "/v1/legs/moq"


def settings(addr: str = "127.0.0.1:0", certificate: str = "", key: str = "") -> ListenerSettings:
    return ListenerSettings(addr, certificate, key, PATH, ("moq-00",), "an instance")


class Served(Peer):
    """Sends back what comes."""

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        super().data(stream, data, fin=fin)
        back = stream if stream % 4 == 0 else self.session.open_stream(bidirectional=False)
        self.session.send(back, data, fin=fin)


@asynccontextmanager
async def serving(addr: str = "127.0.0.1:0") -> AsyncIterator[tuple[Listener, list[Served]]]:
    served: list[Served] = []

    def accept(request: Request, session: Session) -> Receiver | Refusal:
        if "refused" in request.query:
            return Refusal(403, "no")
        served.append(Served(session, request))
        return served[-1]

    listener = await make_listener(settings(addr), accept, lambda site: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        yield listener, served
        nursery.cancel_scope.cancel()


def reading(listener: Listener, name: str, *labels: str) -> float:
    return next(
        value for key, _, value, found in listener.readings() if (key, *found.values()) == (name, *labels)
    )


@pytest.mark.parametrize("addr", ["127.0.0.1:0", "[::1]:0"])
async def test_a_client_talks_both_ways(addr: str) -> None:
    async with serving(addr) as (listener, served):
        host, port = listener.address
        async with open_webtransport(host, port) as client:
            assert await client.open_session(f"{PATH}?room_id=r") == 200
            stream = client.open_stream(bidirectional=True)
            client.send(stream, b"ping", fin=True)
            await client.until(lambda: stream in client.streams and client.streams[stream].ended)
            assert client.streams[stream].data == b"ping"
            assert served[0].request.query == "room_id=r"
            assert served[0].request.address[0] == host
            assert reading(listener, "quic_sessions") == 1


async def test_both_families_reach_a_port_without_a_host() -> None:
    async with serving(":0") as (listener, served):
        port = listener.address[1]
        for host in ("127.0.0.1", "::1"):
            async with open_webtransport(host, port) as client:
                assert await client.open_session(PATH) == 200
        assert [peer.request.address[0] for peer in served] == ["127.0.0.1", "::1"]


async def test_plain_and_refused_requests_are_answered() -> None:
    async with serving() as (listener, _), open_webtransport(*listener.address) as client:
        assert (await client.request("POST", PATH))[0] == 405
        status, body = await client.request("GET", "/")
        assert status == 404
        assert body == b'{"instance_id": "an instance", "error": "not found"}'
        assert await client.open_session(f"{PATH}?refused") == 403
        assert reading(listener, "quic_connections") == 1


async def test_what_is_sent_outside_the_loop_of_the_listener_leaves_at_once() -> None:
    async with serving() as (listener, served), open_webtransport(*listener.address) as client:
        await client.open_session(PATH)
        stream = served[0].session.open_stream(bidirectional=False)
        began = trio.current_time()
        served[0].session.send(stream, b"now", fin=True)
        await client.until(lambda: stream in client.streams)
        assert client.streams[stream].data == b"now"
        assert trio.current_time() - began < 1.0


async def test_only_handshakes_that_go_on_keep_datagrams_from_being_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = 0

    def counted(moment: float) -> float:
        nonlocal pauses
        pauses += 1
        return grid_after(moment)

    monkeypatch.setattr("vb.quic.tasks.listener.grid_after", counted)
    async with serving() as (listener, _), open_webtransport(*listener.address) as client:
        await client.open_session(PATH)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            await _begin_and_vanish(stranger, listener.address)
            await client.until(lambda: reading(listener, "quic_handshakes") == 1)
            before = pauses
            for _ in range(10):
                stream = client.open_stream(bidirectional=True)
                client.send(stream, b"ping", fin=True)
                await client.until(partial(client.streams.__contains__, stream))
            assert reading(listener, "quic_handshakes") == 1
            assert pauses > before


async def _begin_and_vanish(stranger: socket.socket, address: tuple[str, int]) -> None:
    """Send the first datagrams of a handshake and no more."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"])
    configuration.verify_mode = 0
    quic = QuicConnection(configuration=configuration)
    quic.connect(address, trio.current_time())
    stranger.setblocking(False)
    for _ in range(2):
        for data, _ in quic.datagrams_to_send(trio.current_time()):
            stranger.sendto(data, address)
        with trio.fail_after(5):
            await trio.lowlevel.wait_readable(stranger)
        quic.receive_datagram(stranger.recv(2048), address, trio.current_time())


async def test_a_stop_tells_every_client() -> None:
    async with trio.open_nursery() as nursery:
        async with serving() as (listener, served):
            client = await nursery.start(_client, listener.address)
            await client.open_session(PATH)
        await client.until(lambda: client.ended is not None)
        assert client.ended.error_code == 0x100
        assert served[0].told[-1][0] == "closed"
        nursery.cancel_scope.cancel()


async def _client(address: tuple[str, int], *, task_status: trio.TaskStatus[object]) -> None:
    async with open_webtransport(*address) as client:
        task_status.started(client)
        await trio.sleep_forever()


def pem(folder: Path) -> tuple[Path, Path, bytes]:
    identity = make_identity(datetime.datetime.now(datetime.UTC), 7)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key, identity.sha256


def nobody(request: Request, session: Session) -> Receiver | Refusal:
    return Refusal(403, "no")


async def test_certificates_come_from_files(tmp_path: Path) -> None:
    certificate, key, sha256 = pem(tmp_path)
    found = settings(certificate=str(certificate), key=str(key))
    listener = await make_listener(found, nobody, lambda site: None)
    assert listener.identity.sha256 == sha256
    assert not listener.identity.self_made
    listener.close()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda c, k: c.unlink(), "No such file"),
        (lambda c, k: c.write_text("x"), "certificate is not PEM"),
        (lambda c, k: k.write_text("x"), "key is not PEM"),
        (lambda c, k: pem(c.parent / "other")[1].rename(k), "another certificate's"),
    ],
)
async def test_a_certificate_that_cannot_be_used_ends_the_start(
    tmp_path: Path, damage: Callable[[Path, Path], object], problem: str
) -> None:
    (tmp_path / "other").mkdir()
    certificate, key, _ = pem(tmp_path)
    damage(certificate, key)
    with pytest.raises(ConfigError, match=problem) as raised:
        await make_listener(settings("127.0.0.1:0", str(certificate), str(key)), nobody, lambda site: None)
    assert "MOQ_TLS_CERT_FILE" in str(raised.value)


async def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one needs the other"):
        await make_listener(settings(certificate=str(pem(tmp_path)[0])), nobody, lambda site: None)


async def test_without_the_extra_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("vb.quic.", "aioquic"))]:
        if not name.startswith("vb.quic.tasks"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aioquic", None)
    with pytest.raises(ConfigError, match="the extra moq is not installed"):
        await make_listener(settings(), nobody, lambda site: None)


async def test_an_address_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        addr = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"MOQ_LISTEN_ADDR {addr}"):
            await make_listener(settings(addr), nobody, lambda site: None)
