"""Endpoints on loopback sockets with the real clock."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import structlog
import trio
import trio.lowlevel

from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.errors import NotAvailable, Unavailable
from vb.ids import SystemIds
from vb.sip.call_events import (
    Answered,
    CallEvent,
    Cancelled,
    Closed,
    DialFailed,
    OfferAnswered,
    OfferReceived,
    RemoteHangup,
    Ringing,
)
from vb.sip.client_transaction import ClientTransaction
from vb.sip.errors import CallStateError, HeaderRefused, SipTargetError
from vb.sip.hop import Hop
from vb.sip.message import Request, Response
from vb.sip.outside_dialog import RefuseNew
from vb.sip.parser import parse_message
from vb.sip.settings import AgentSettings
from vb.sip.tasks.endpoint import DialRequest, SipCall, SipEndpoint, SipSettings
from vb.sip.transaction import FailureKind

pytestmark = pytest.mark.integration
LOOPBACK = SipSettings(port=0, agent=AgentSettings(tcp_enabled=True))


def ignore(call: SipCall) -> None:
    """Leave a call ringing."""


@asynccontextmanager
async def running(
    on_invite: Callable[[SipCall], None] = ignore,
    settings: SipSettings = LOOPBACK,
    refuse_new: RefuseNew | None = None,
) -> AsyncIterator[tuple[SipEndpoint, int]]:
    endpoint = SipEndpoint(settings, SystemIds(), on_invite, refuse_new=refuse_new)
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(endpoint.run)
            yield endpoint, bound[0].port
            nursery.cancel_scope.cancel()


async def until(call: SipCall, kind: type[CallEvent]) -> CallEvent:
    while True:
        event = await call.next_event()
        if isinstance(event, (kind, Closed)):
            return event


def answering(call: SipCall) -> None:
    call.ring()
    call.accept(ANSWER)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_whole_call(transport: str) -> None:
    calls: list[SipCall] = []

    def on_invite(call: SipCall) -> None:
        calls.append(call)
        answering(call)

    async with running(on_invite) as (bob, port), running() as (alice, _):
        call = alice.dial(
            DialRequest(f"sip:bob@127.0.0.1:{port};transport={transport}", OFFER, from_="alice")
        )
        assert isinstance(await until(call, Ringing), Ringing)
        answered = await until(call, Answered)
        assert isinstance(answered, Answered)
        assert answered.sdp == ANSWER
        (theirs,) = calls
        assert (theirs.direction, theirs.offer, theirs.transport) == ("inbound", OFFER, transport)
        assert (theirs.remote_tag, theirs.call_id) == (call.local_tag, call.call_id)
        assert theirs.answered
        assert call.answered
        call.reoffer(OFFER)
        assert isinstance(await until(theirs, OfferReceived), OfferReceived)
        theirs.answer_offer(ANSWER)
        assert await until(call, OfferAnswered) == OfferAnswered(ANSWER)
        theirs.hangup()
        assert isinstance(await until(call, RemoteHangup), RemoteHangup)
        await call.wait_closed()
        await theirs.wait_closed()
        assert await call.next_event() == Closed()
        assert (alice.calls, bob.calls, bob.faults) == (0, 0, 0)


async def test_calls_over_ipv6() -> None:
    settings = SipSettings(port=0, bind_ipv6="::1")
    async with running(answering, settings) as (_, port), running(settings=settings) as (alice, _):
        call = alice.dial(DialRequest(f"sip:bob@[::1]:{port}", lambda host: host.encode()))
        assert isinstance(await until(call, Answered), Answered)
        assert (call.family, call.local_host, call.invite.body) == (6, "::1", b"::1")
        assert "[::1]:" in (call.invite.headers.get("Contact") or "")


async def test_a_closed_udp_port_fails_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with running() as (alice, _):
        with trio.fail_after(2):
            call = alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER))
            assert await call.next_event() == DialFailed("transport")
            assert await call.next_event() == Closed()


async def test_a_closed_tcp_port_fails_at_once() -> None:
    async with running() as (alice, _):
        call = alice.dial(DialRequest("sip:bob@127.0.0.1:1;transport=tcp", OFFER))
        assert await until(call, DialFailed) == DialFailed("transport")


async def test_a_name_is_resolved() -> None:
    async with running(answering) as (_, port), running() as (alice, _):
        call = alice.dial(DialRequest(f"sip:bob@localhost:{port}", OFFER))
        with pytest.raises(CallStateError):
            _ = call.invite
        assert isinstance(await until(call, Answered), Answered)
        assert call.source == ("127.0.0.1", port)


async def test_a_call_hung_up_while_its_name_is_resolved_sends_nothing() -> None:
    async with running() as (alice, _):
        call = alice.dial(DialRequest("sip:bob@localhost:9", OFFER))
        call.hangup()
        assert await call.next_event() == Closed()


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (DialRequest("sip:", OFFER), SipTargetError),
        (DialRequest("tel:+1555", OFFER), SipTargetError),
        (DialRequest("sips:a@127.0.0.1", OFFER), NotAvailable),
        (DialRequest("sip:a@127.0.0.1;transport=tls", OFFER), NotAvailable),
        (DialRequest("sip:a@127.0.0.1", OFFER, from_="a b"), SipTargetError),
        (DialRequest("sip:a@127.0.0.1", OFFER, headers={"Via": "x"}), HeaderRefused),
    ],
)
async def test_a_request_that_cannot_be_dialled(request_: DialRequest, error: type[Exception]) -> None:
    async with running() as (alice, _):
        with pytest.raises(error):
            alice.check(request_)
        with pytest.raises(error):
            alice.dial(request_)
        assert alice.calls == 0


def test_dialling_before_the_start_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        SipEndpoint(LOOPBACK, SystemIds(), ignore).dial(DialRequest("sip:a@127.0.0.1", OFFER))


async def test_identity_and_headers_are_on_the_wire() -> None:
    calls: list[SipCall] = []
    settings = SipSettings(port=0, agent=AgentSettings(domain="vb.example"))
    async with running(calls.append) as (_, port), running(settings=settings) as (alice, own):
        call = alice.dial(
            DialRequest(
                f'"Bob" <sip:bob@127.0.0.1:{port};transport=udp>',
                OFFER,
                from_="alice",
                privacy="id",
                headers={"X-One": "1", "User-Agent": "mine"},
            )
        )
        await until(call, Ringing) if calls else await trio.lowlevel.checkpoint()
        while not calls:
            await trio.testing.wait_all_tasks_blocked(0.01)
        headers = calls[0].invite.headers
        assert headers.get("To") == f'"Bob" <sip:bob@127.0.0.1:{port}>'
        assert (headers.get("From") or "").startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=')
        assert headers.get("P-Asserted-Identity") == "<sip:alice@vb.example>"
        assert (headers.get("Privacy"), headers.get("X-One")) == ("id", "1")
        assert headers.get_all("User-Agent") == ["mine"]
        assert headers.get("Contact") == f"<sip:127.0.0.1:{own}>"


async def test_a_fault_in_the_owner_refuses_the_call_and_nothing_else() -> None:
    def broken(call: SipCall) -> None:
        raise ValueError("broken owner")

    with structlog.testing.capture_logs() as logs:
        async with running(broken) as (bob, port), running() as (alice, _):
            for _ in range(2):
                call = alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER))
                assert isinstance(await until(call, Closed), Closed)
            assert bob.faults == 2
    assert [entry["event"] for entry in logs] == ["sip_fault", "sip_fault"]


async def test_a_fault_in_what_follows_a_failed_send_ends_nothing_else() -> None:
    told = trio.Event()

    def broken(transaction: ClientTransaction, kind: FailureKind, now: float) -> None:
        told.set()
        raise ValueError("broken user")

    async with running(answering) as (_bob, port), running() as (alice, _):
        agent = alice._agent
        assert agent is not None
        with structlog.testing.capture_logs() as logs:
            for hop in (Hop("udp", "127.0.0.1", free_port()), Hop("udp", "127.0.0.1", 70_000)):
                request = parse_message(RawPeer().request("OPTIONS", branch=f"z9hG4bK{hop.port}"))
                assert isinstance(request, Request)
                agent.start_client(request, hop, ignore_response, broken, trio.current_time())
                alice.flush()
            await told.wait()
        # The system reports the closed port; the impossible one cannot even be named to it.
        assert sorted(entry["what"] for entry in logs) == ["failure", "send"]
        call = alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER))
        assert isinstance(await until(call, Answered), Answered)


def ignore_response(transaction: ClientTransaction, response: Response, now: float) -> None:
    """Nobody responds."""


def free_port() -> int:
    """A UDP port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_an_owner_that_reads_no_events_loses_its_call() -> None:
    calls: list[SipCall] = []

    def on_invite(call: SipCall) -> None:
        calls.append(call)
        call.accept(ANSWER)

    settings = SipSettings(port=0, agent=AgentSettings(accept_info=True))
    async with running(on_invite, settings) as (bob, port):
        raw = RawPeer()
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 0))
            await sock.connect(("127.0.0.1", port))
            await sock.send(raw.request("INVITE", body=OFFER))
            while (
                not isinstance(last := parse_message(await sock.recv(65536)), Response) or last.status != 200
            ):
                continue
            await sock.send(raw.request("ACK", to_tag=last.to.tag))
            for number in range(80):
                await sock.send(raw.request("INFO", to_tag=last.to.tag, cseq=2 + number))
                await sock.recv(65536)
        assert bob.overflows >= 1
        read = 0
        while not isinstance(await calls[0].next_event(), Closed):
            read += 1
        assert read == 64


async def test_garbage_does_not_disturb_the_next_request() -> None:
    async with running() as (bob, port):
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect(("127.0.0.1", port))
            for junk in (b"\x00" * 4, b"\xff" * 100, b"INVITE", b"\r\n\r\n", b"SIP/2.0 999 x\r\n\r\n"):
                await sock.send(junk)
            await sock.send(RawPeer().request("OPTIONS"))
            answer = parse_message(await sock.recv(65536))
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert bob.faults == 0


async def test_refuse_new_answers_before_the_owner_hears_of_a_call() -> None:
    calls: list[SipCall] = []

    def refuse(is_call: bool) -> tuple[int, str | None, Sequence[tuple[str, str]]]:
        return 503, None, [("Retry-After", "7")]

    async with running(calls.append, refuse_new=refuse) as (_, port), running() as (alice, _):
        call = alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER))
        await until(call, Closed)
        assert calls == []


# -- TCP ---------------------------------------------------------------------------------------------


async def receive(stream: trio.SocketStream) -> Response:
    message = parse_message(bytes(await stream.receive_some(65536)))
    assert isinstance(message, Response)
    return message


async def test_a_tcp_keep_alive_is_answered() -> None:
    async with running() as (_, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"\r\n\r\n")
            assert await stream.receive_some(10) == b"\r\n"


async def test_two_messages_in_one_segment_are_both_answered() -> None:
    async with running() as (bob, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            raw = RawPeer()
            await stream.send_all(raw.request("OPTIONS") + raw.request("OPTIONS"))
            data = b""
            while data.count(b"SIP/2.0 200") < 2:
                data += await stream.receive_some(65536)
        assert bob.stats.messages == 2


async def test_a_stream_that_cannot_be_framed_is_answered_and_closed() -> None:
    async with running() as (bob, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(
                RawPeer().request("OPTIONS").replace(b"Content-Length: 0", b"Content-Length: x")
            )
            assert (await receive(stream)).status == 400
            assert await stream.receive_some(10) == b""
        while bob.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_connections_per_peer_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS_PER_PEER", 2)
    async with running() as (bob, port):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        assert await streams[2].receive_some(10) == b""
        assert bob.connections == 2
        for stream in streams:
            await stream.aclose()


async def test_a_full_endpoint_closes_who_is_silent_for_longest_without_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS", 5)
    monkeypatch.setattr("vb.sip.tasks.tcp.KEPT_FOR_US", 2)
    async with running() as (bob, port), AsyncExitStack() as stack:

        async def connect() -> trio.SocketStream:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(b"\r\n\r\n")
            assert await stream.receive_some(10) == b"\r\n"  # it has been let in
            return stream

        raw = RawPeer()
        ringing, heard, silent = await connect(), await connect(), await connect()
        await ringing.send_all(raw.request("INVITE", body=OFFER))
        assert (await receive(ringing)).status == 100
        await heard.send_all(raw.request("OPTIONS"))
        assert (await receive(heard)).status == 200
        newcomer = await connect()
        assert await silent.receive_some(10) == b""
        for stream in (heard, newcomer):
            await stream.send_all(raw.request("INVITE", body=OFFER, call_id=f"call-{id(stream)}"))
            assert (await receive(stream)).status == 100
        refused = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        assert await refused.receive_some(10) == b""  # everybody has a call
        assert (bob.calls, bob.connections) == (3, 3)


async def test_a_caller_that_goes_gets_no_more_connections_from_us_than_it_may_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS_PER_PEER", 2)
    calls: list[SipCall] = []
    async with running(calls.append) as (bob, port), AsyncExitStack() as stack:
        stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        listeners = [await stack.enter_async_context(each) for each in await many_listeners(4)]
        for number, listener in enumerate(listeners):
            via = f"SIP/2.0/TCP 127.0.0.1:{listener.socket.getsockname()[1]};branch=z9hG4bKx{number}"
            invite = RawPeer().request("INVITE", body=OFFER, call_id=f"c{number}", headers={"Via": via})
            await stream.send_all(invite)
            assert (await receive(stream)).status == 100
        await stream.aclose()
        for call in calls[2:]:
            assert isinstance(await until(call, Cancelled), Cancelled)
        assert (bob.calls, bob.connections, bob.refused_connections) == (2, 2, 2)


async def many_listeners(number: int) -> list[trio.SocketListener]:
    """Open so many, each on a port of its own."""
    return [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(number)]


async def test_a_burst_of_invites_and_a_reset_leaves_nothing() -> None:
    async with running() as (bob, port):
        raw = RawPeer()
        for number in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(raw.request("INVITE", body=OFFER, call_id=f"burst-{number}"))
            await receive(stream)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await trio.aclose_forcefully(stream)
        while bob.calls or bob.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (bob.calls, bob.transactions) == (0, 0)


async def test_an_unbindable_address_is_an_error() -> None:
    endpoint = SipEndpoint(SipSettings(port=0, bind_ip="192.0.2.1"), SystemIds(), ignore)
    with pytest.raises(OSError, match="assign"):
        await endpoint.run()
