"""Much at once on one connection, and requests that cannot be sent."""

from __future__ import annotations

import pytest
import trio

from tests.sip.tasks.test_endpoint import answering, ignore, running, until
from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.sip.call import Answered, Closed, DialFailed, RemoteHangup
from vb.sip.errors import SipTargetError
from vb.sip.identity import MAX_HEADER_BYTES
from vb.sip.tasks.call import SipCall
from vb.sip.tasks.endpoint import DialRequest
from vb.sip.tasks.tcp import MAX_UNREAD_BYTES

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
            assert MAX_UNREAD_BYTES < connection.queued_bytes < 2 * MAX_UNREAD_BYTES
            assert bob.stats.messages < taken // len(request)


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
