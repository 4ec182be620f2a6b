"""Much at once on one connection, and requests that cannot be sent."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
import trio.testing

from tests.sip.tasks.test_endpoint import answering, ignore, running, until
from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.sip.call_events import Answered, Closed, DialFailed, RemoteHangup
from vb.sip.errors import SipTargetError
from vb.sip.hop import Hop, Outgoing, TransactionKey
from vb.sip.identity import MAX_HEADER_BYTES
from vb.sip.tasks.call import SipCall
from vb.sip.tasks.endpoint import DialRequest
from vb.sip.tasks.tcp import MAX_OWED_BYTES, TcpTransport

CALLS = 300


async def test_hundreds_of_calls_over_one_connection_begin_and_end_at_once() -> None:
    theirs: list[SipCall] = []

    def on_invite(call: SipCall) -> None:
        theirs.append(call)
        call.accept(ANSWER)

    async with running(on_invite) as (bob, port), running() as (alice, _):
        request = DialRequest(f"sip:bob@127.0.0.1:{port};transport=tcp", OFFER)
        calls = [alice.dial(request) for _ in range(CALLS)]
        for call in calls:
            assert isinstance(await until(call, Answered), Answered)
        assert (alice.connections, bob.connections) == (1, 1)
        for call in theirs:
            call.hangup()
        for call in calls:
            assert isinstance(await until(call, RemoteHangup), RemoteHangup)
        for call in (*calls, *theirs):
            await call.wait_closed()
        assert (alice.calls, bob.calls, alice.dropped, bob.dropped) == (0, 0, 0, 0)
        assert (alice.connections, bob.connections) == (1, 1)


async def test_from_a_peer_that_does_not_read_no_more_is_taken() -> None:
    async with running() as (bob, port):
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM) as peer:
            peer.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await peer.connect(("127.0.0.1", port))
            request = RawPeer().request("OPTIONS", call_id="a" * 4000)
            taken, stuck = 0, trio.CancelScope()
            with stuck:
                while True:
                    stuck.deadline = trio.current_time() + 0.5
                    taken += await peer.send(request[taken % len(request) :])
            assert bob._transport is not None
            (connection,) = bob._transport.tcp._flows.values()
            assert MAX_OWED_BYTES < connection.owed_bytes == connection.queued_bytes < 1.5 * MAX_OWED_BYTES
            assert bob.stats.messages < taken // len(request)


class Partner:
    """One end of a connection between two servers; answers what it is told to."""

    def __init__(self, *, answers: bool) -> None:
        self.tcp = TcpTransport(self)
        self.received_count = 0
        self.lost: list[int] = []
        self._answers = answers

    def received(self, data: bytes, source: Hop) -> None:
        self.received_count += 1
        if self._answers:
            self.tcp.send(ANSWERED, source)

    def unframed(self, data: bytes, status: int, source: Hop) -> None:
        raise AssertionError("every message is whole")

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool) -> None:
        """Nothing waits here."""

    def undelivered(self, sender: TransactionKey) -> None:
        raise AssertionError("the connection is up")

    def needs(self, flow: int) -> bool:
        return False

    def flow_lost(self, flow: int) -> None:
        self.lost.append(flow)

    def flush(self) -> None:
        """Nothing is kept back."""


ASKED = b"BYE sip:a@b SIP/2.0\r\nX: " + b"x" * 540 + b"\r\nContent-Length: 0\r\n\r\n"
ANSWERED = b"SIP/2.0 200 OK\r\nX: " + b"x" * 540 + b"\r\nContent-Length: 0\r\n\r\n"
SMALL_BUFFER_BYTES = 32_768


async def test_thousands_of_requests_to_a_partner_that_answers_each_do_not_lock_both_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(host: str, port: int) -> trio.SocketStream:
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
        for option in (trio.socket.SO_RCVBUF, trio.socket.SO_SNDBUF):
            sock.setsockopt(trio.socket.SOL_SOCKET, option, SMALL_BUFFER_BYTES)
        await sock.connect((host, port))
        return trio.SocketStream(sock)

    monkeypatch.setattr("vb.sip.tasks.tcp.trio.open_tcp_stream", connect)
    asking, answering = Partner(answers=False), Partner(answers=True)
    answering.tcp.bind("127.0.0.1", 0)
    hop = Hop("tcp", "127.0.0.1", answering.tcp.listening_ports[0])
    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking.tcp.run)
            nursery.start_soon(answering.tcp.run)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(4000):
                asking.tcp.send(ASKED, hop, (str(number), "BYE"))
            while asking.received_count < 4000:
                await trio.lowlevel.checkpoint()
            assert (answering.received_count, asking.lost, answering.lost) == (4000, [], [])
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("value", ["id;\r\nuser", "id;\u2028user", "id" * 200])
async def test_a_privacy_that_cannot_be_sent_is_refused_and_leaves_nothing(value: str) -> None:
    async with running() as (alice, port):
        with pytest.raises(SipTargetError, match=r"^privacy: "):
            alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER, privacy=value))
        assert (alice.calls, alice.transactions) == (0, 0)


async def test_a_call_whose_invite_cannot_be_written_leaves_nothing() -> None:
    async with running() as (alice, port):
        broken = DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER, server_headers=(("X-Broken", "a\r\nb"),))
        with pytest.raises(ValueError, match="line break"):
            alice.dial(broken)
        assert (alice.calls, alice.transactions) == (0, 0)


async def test_an_invite_too_long_for_a_datagram_ends_no_other_call() -> None:
    async with running(ignore) as (_, port), running() as (alice, _):
        uri = f"sip:bob@127.0.0.1:{port};transport=udp"
        waiting = alice.dial(DialRequest(uri, OFFER))
        too_long = alice.dial(DialRequest(uri, OFFER + b"a" * 70_000))
        assert await until(too_long, DialFailed) == DialFailed("transport")
        waiting.hangup()
        assert await waiting.next_event() == Closed()


async def test_the_longest_headers_still_fit_a_datagram() -> None:
    room = MAX_HEADER_BYTES - 4 * len("X-Long-0")
    headers = {f"X-Long-{number}": "x" * (room // 4) for number in range(4)}
    async with running(answering) as (_, port), running() as (alice, _):
        uri = f"sip:bob@127.0.0.1:{port};transport=udp"
        call = alice.dial(DialRequest(uri, OFFER, headers=headers))
        assert isinstance(await until(call, Answered), Answered)


@pytest.mark.parametrize(("transport", "failed"), [("tcp", [("b", "BYE")]), ("udp", [])])
async def test_where_too_many_names_are_looked_up_what_nothing_would_repeat_fails(
    monkeypatch: pytest.MonkeyPatch, transport: Literal["tcp", "udp"], failed: list[TransactionKey]
) -> None:
    monkeypatch.setattr("vb.sip.tasks.transport.MAX_RESOLVING", 0)
    told: list[TransactionKey] = []
    async with running() as (alice, _):
        monkeypatch.setattr(alice, "undelivered", told.append)
        assert alice._transport is not None
        alice._transport.send(Outgoing(ASKED, Hop(transport, "far.example", 5060), ("b", "BYE")))
        assert (told, alice.dropped) == (failed, 1)
