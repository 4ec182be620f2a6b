"""SIP over TLS on loopback, with certificates made for the test."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.errors import ConfigError
from vb.ids import SystemIds
from vb.self_signed import make_certificate
from vb.sip.call_events import Answered, CallEvent, Closed, DialFailed, OfferReceived, RemoteHangup
from vb.sip.message import Response
from vb.sip.parser import parse_message
from vb.sip.tasks.endpoint import DialRequest, SipCall, SipEndpoint, SipSettings
from vb.sip.tasks.tls import Tls, load_tls

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.integration


class Files:
    """A certificate authority and one certificate, as files."""

    def __init__(self, folder: Path, *names: str) -> None:
        authority = trustme.CA()
        leaf = authority.issue_cert(*names)
        self.authority = authority
        self.certificate, self.key, self.ca = (
            str(folder / f"{names[0].replace(':', '_')}-{kind}.pem") for kind in ("cert", "key", "ca")
        )
        for blob in leaf.cert_chain_pems:
            blob.write_to_path(self.certificate, append=True)
        leaf.private_key_pem.write_to_path(self.key)
        authority.cert_pem.write_to_path(self.ca)

    def load(self, *, trusts: str | None = None, verify: bool = True) -> Tls:
        return load_tls(self.certificate, self.key, ca_file=trusts or self.ca, verify=verify)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, "localhost", "127.0.0.1")


def ignore(call: SipCall) -> None:
    """Leave a call ringing."""


@asynccontextmanager
async def running(
    tls: Tls, on_invite: Callable[[SipCall], None] = ignore
) -> AsyncIterator[tuple[SipEndpoint, int]]:
    endpoint = SipEndpoint(SipSettings(port=0, tls=tls, tls_port=0), SystemIds(), on_invite)
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(endpoint.run)
            (port,) = [address.port for address in bound if address.transport == "tls"]
            yield endpoint, port
            nursery.cancel_scope.cancel()


async def until(call: SipCall, kind: type[CallEvent]) -> CallEvent:
    while True:
        event = await call.next_event()
        if isinstance(event, (kind, Closed)):
            return event


async def take_offer_and_hang_up(call: SipCall) -> None:
    assert isinstance(await until(call, OfferReceived), OfferReceived)
    call.answer_offer(ANSWER)
    call.hangup()


@pytest.mark.parametrize(
    ("uri", "contact"),
    [
        ("sips:bob@localhost:{}", "<sips:127.0.0.1:{}>"),
        ("sip:bob@localhost:{};transport=tls", "<sip:127.0.0.1:{};transport=tls>"),
        ("sips:bob@127.0.0.1:{}", "<sips:127.0.0.1:{}>"),
    ],
)
async def test_a_whole_call(files: Files, uri: str, contact: str) -> None:
    calls: list[SipCall] = []

    def on_invite(call: SipCall) -> None:
        calls.append(call)
        call.accept(ANSWER)

    tls = files.load()
    async with running(tls, on_invite) as (bob, port), running(tls) as (alice, own_port):
        call = alice.dial(DialRequest(uri.format(port), OFFER))
        answered = await until(call, Answered)
        assert isinstance(answered, Answered)
        assert answered.headers.get("Contact") == contact.format(port)
        assert call.invite.headers.get("Contact") == contact.format(own_port)
        assert (call.invite.via.transport, call.invite.via.port) == ("TLS", own_port)
        (theirs,) = calls
        assert theirs.transport == "tls"
        theirs.reoffer(OFFER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_offer_and_hang_up, call)
            assert isinstance(await until(theirs, RemoteHangup), RemoteHangup)
        await call.wait_closed()
        assert (alice.connections, bob.connections) == (1, 1)


async def test_two_calls_share_a_connection(files: Files) -> None:
    tls = files.load()
    async with running(tls, lambda call: call.accept(ANSWER)) as (bob, port), running(tls) as (alice, _):
        for _ in range(2):
            call = alice.dial(DialRequest(f"sips:bob@localhost:{port}", OFFER))
            assert isinstance(await until(call, Answered), Answered)
        assert (alice.connections, bob.connections) == (1, 1)


async def refused(tls_of_bob: Tls, tls_of_alice: Tls, host: str = "localhost") -> list[str]:
    """Dial and return what the log says about the refusal."""
    with structlog.testing.capture_logs() as logs:
        async with running(tls_of_bob) as (bob, port), running(tls_of_alice) as (alice, _):
            call = alice.dial(DialRequest(f"sips:bob@{host}:{port}", OFFER))
            assert await until(call, DialFailed) == DialFailed("transport")
            assert alice.connections == 0
            assert bob.stats.messages == 0
    return [str(entry["problem"]) for entry in logs if entry["event"] == "sip_tls_refused"]


async def test_a_peer_of_an_unknown_authority_is_refused(files: Files, tmp_path: Path) -> None:
    (problem,) = await refused(files.load(), Files(tmp_path, "127.0.0.9").load())
    assert "certificate verify failed" in problem


async def test_a_certificate_with_another_name_is_refused(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path, "other.example")
    problems = await refused(other.load(), files.load(trusts=other.ca))
    assert problems == ["the certificate names somebody else"]


async def test_any_certificate_will_do_when_told_so(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path, "other.example")
    async with (
        running(other.load(), lambda call: call.accept(ANSWER)) as (_, port),
        running(files.load(verify=False)) as (alice, _),
    ):
        call = alice.dial(DialRequest(f"sips:bob@localhost:{port}", OFFER))
        assert isinstance(await until(call, Answered), Answered)


def test_both_sides_speak_tls_1_2_or_later(files: Files) -> None:
    tls = files.load()
    assert tls.server.minimum_version == tls.client.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_client_of_tls_1_1_is_refused(files: Files) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running(files.load()) as (_, port):
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


async def test_a_peer_that_never_shakes_hands_is_dropped(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.sip.tasks.tls.HANDSHAKE_TIMEOUT_S", 0.1)
    async with running(files.load()) as (bob, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await stream.receive_some(1) == b""
        assert bob.connections == 0


async def test_plain_text_on_the_tls_port_is_dropped(files: Files) -> None:
    async with running(files.load()) as (bob, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
            while await stream.receive_some(100):
                pass  # the alert
        assert (bob.connections, bob.stats.messages, bob.faults) == (0, 0, 0)


async def test_connections_of_one_peer_are_capped(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS_PER_PEER", 1)
    async with (
        running(files.load()) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port),
        await trio.open_tcp_stream("127.0.0.1", port) as second,
    ):
        assert await second.receive_some(1) == b""


async def test_a_burst_of_invites_and_a_reset_leaves_nothing(files: Files) -> None:
    trusting = files.load().client
    async with running(files.load()) as (bob, port):
        raw = RawPeer()
        for number in range(20):
            tcp = await trio.open_tcp_stream("127.0.0.1", port)
            stream = trio.SSLStream(tcp, trusting, server_hostname="localhost")
            await stream.send_all(raw.request("INVITE", body=OFFER, call_id=f"burst-{number}"))
            answer = parse_message(bytes(await stream.receive_some(65536)))
            assert isinstance(answer, Response)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await trio.aclose_forcefully(stream)
        while bob.calls or bob.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (bob.calls, bob.transactions, bob.faults) == (0, 0, 0)


@pytest.mark.parametrize("content", [None, "", "hello"])
def test_a_file_that_is_missing_or_of_another_kind_is_told_by_its_own_setting(
    files: Files, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "other.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"^SIP_TLS_CERT: {path}: .+$"):
        load_tls(str(path), files.key)
    with pytest.raises(ConfigError, match=rf"^SIP_TLS_KEY: {path}: .+$"):
        load_tls(files.certificate, str(path))
    with pytest.raises(ConfigError, match=rf"^SIP_TLS_CA_FILE: {path}: .+$"):
        load_tls(files.certificate, files.key, ca_file=str(path))


@pytest.mark.parametrize("label", [b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"])
def test_a_certificate_may_be_labelled_as_openssl_does(files: Files, label: bytes) -> None:
    path = Path(files.certificate)
    path.write_bytes(path.read_bytes().replace(b"CERTIFICATE", label))
    assert files.load().verify


def test_a_certificate_that_does_not_hold_now_is_logged_at_the_start(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        Files(tmp_path, "now.example").load()
    assert lines == []
    past, key = make_certificate(LONG_AGO, 1, before=timedelta(), after=timedelta(days=1))
    certificate, key_file = tmp_path / "past.pem", tmp_path / "past.key"
    certificate.write_bytes(past.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with structlog.testing.capture_logs() as lines:
        load_tls(str(certificate), str(key_file))
    assert [(line["event"], line["until"]) for line in lines] == [
        ("sip_tls_certificate_not_valid", "2020-01-02T00:00:00+00:00")
    ]


@pytest.mark.parametrize("broken", ["key of another", "encrypted"])
def test_files_that_do_not_go_together_are_named(files: Files, tmp_path: Path, broken: str) -> None:
    certificate, key = files.certificate, files.key
    if broken == "key of another":
        key = Files(tmp_path, "other.example").key
    else:
        from cryptography.hazmat.primitives import serialization as pem

        loaded = pem.load_pem_private_key(Path(key).read_bytes(), None)
        Path(key).write_bytes(
            loaded.private_bytes(
                pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"secret")
            )
        )
    with pytest.raises(ConfigError, match=r"^SIP_TLS_CERT, SIP_TLS_KEY: .+$"):
        load_tls(certificate, key)


async def test_a_port_in_use_fails_and_leaves_no_socket(files: Files) -> None:
    tls = files.load()
    async with running(tls) as (_, port):
        second = SipEndpoint(SipSettings(port=0, tls=tls, tls_port=port), SystemIds(), ignore)
        with pytest.raises(OSError, match=f"cannot listen on SIP_TLS_PORT, tls 127.0.0.1:{port}: .* in use"):
            await second.run()
