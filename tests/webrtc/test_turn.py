"""The client against a scripted server, whose every word the test chooses."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webrtc.network import seeded
from vb.webrtc import stun
from vb.webrtc.stun import Address, Attr, Kind, Message, Method
from vb.webrtc.turn import Allocated, Permitted, TurnClient, TurnFailed
from vb.webrtc.turn_framing import channel_data

PEER: Address = ("198.51.100.1", 5000)
RELAYED: Address = ("203.0.113.1", 49152)
MAPPED: Address = ("192.0.2.1", 4000)
KEY = stun.long_term_key("user", "here", "secret")


class Server:
    """Answers what it is told to."""

    def __init__(self, *, stream: bool = False) -> None:
        self.client = TurnClient(username="user", password="secret", random_bytes=seeded(1), stream=stream)

    def request(self) -> Message:
        (data,) = self.client.outgoing()
        return stun.parse(data)

    def accept(self, request: Message, *more: tuple[int, bytes], key: bytes = KEY, now: float = 0.0) -> None:
        tid = request.transaction_id
        self.client.receive(stun.build(Kind.SUCCESS, request.method, tid, more, key=key), now)

    def refuse(self, request: Message, code: int, *more: tuple[int, bytes], key: bytes | None = None) -> None:
        attributes = [(int(Attr.ERROR_CODE), stun.error_code(code, "")), *more]
        tid = request.transaction_id
        self.client.receive(stun.build(Kind.ERROR, request.method, tid, attributes, key=key), 0.0)

    def challenge(self, request: Message, code: int = 401, nonce: bytes = b"n1") -> None:
        self.refuse(request, code, (Attr.REALM, b"here"), (Attr.NONCE, nonce))

    def allocate(self, *, lifetime: int = 600) -> None:
        self.client.start(0.0)
        self.challenge(self.request())
        request = self.request()
        assert request.verify(KEY)
        tid = request.transaction_id
        self.accept(
            request,
            (Attr.XOR_RELAYED_ADDRESS, stun.xor_address(RELAYED, tid)),
            (Attr.XOR_MAPPED_ADDRESS, stun.xor_address(MAPPED, tid)),
            (Attr.LIFETIME, struct.pack("!I", lifetime)),
        )


def test_an_allocation_is_asked_for_with_the_credentials_of_the_challenge() -> None:
    server = Server()
    server.client.start(0.0)
    first = server.request()
    assert not first.is_signed
    assert first.get(Attr.REQUESTED_TRANSPORT) == bytes([17, 0, 0, 0])
    server.challenge(first)
    second = server.request()
    assert (second.get(Attr.USERNAME), second.get(Attr.REALM), second.get(Attr.NONCE)) == (
        b"user",
        b"here",
        b"n1",
    )
    assert second.verify(KEY)
    assert second.transaction_id != first.transaction_id


def test_the_relayed_address_is_told_and_known() -> None:
    server = Server()
    server.allocate()
    assert server.client.events() == [Allocated(RELAYED, MAPPED)]
    assert server.client.relayed == RELAYED


def test_a_stale_nonce_is_replaced() -> None:
    server = Server()
    server.allocate()
    server.client.permit(PEER[0], 1.0)
    server.challenge(server.request(), 438, b"n2")
    again = server.request()
    assert again.get(Attr.NONCE) == b"n2"
    server.accept(again)
    assert Permitted(PEER[0]) in server.client.events()


@pytest.mark.parametrize("code", [401, 403, 486, 508])
def test_a_refusal_ends_it(code: int) -> None:
    server = Server()
    server.client.start(0.0)
    server.challenge(server.request())
    request = server.request()
    if code == 401:
        server.challenge(request)
    else:
        server.refuse(request, code, key=KEY)
    (failed,) = server.client.events()
    assert isinstance(failed, TurnFailed)
    assert failed.code == code
    assert server.client.deadline() is None


def test_a_server_that_challenges_for_ever_is_given_up() -> None:
    server = Server()
    server.client.start(0.0)
    for n in range(3):
        server.challenge(server.request(), 438, b"%d" % n)
    server.challenge(server.request(), 438)
    assert server.client.outgoing() == []
    assert [type(event) for event in server.client.events()] == [TurnFailed]


def test_silence_is_met_with_retransmissions_and_then_given_up() -> None:
    server = Server()
    server.client.start(0.0)
    sent = [(0.0, *server.client.outgoing())]
    while (at := server.client.deadline()) is not None:
        server.client.expire(at)
        sent += [(at, data) for data in server.client.outgoing()]
    assert [at for at, _ in sent] == [0.0, 0.5, 1.5, 3.5, 7.5]
    assert len({data for _, data in sent}) == 1
    assert server.client.events() == [TurnFailed(408, "allocate refused")]


def test_over_a_stream_nothing_is_sent_twice() -> None:
    server = Server(stream=True)
    server.client.start(0.0)
    server.client.outgoing()
    assert server.client.deadline() == 15.0
    server.client.expire(15.0)
    assert server.client.outgoing() == []
    assert server.client.events() == [TurnFailed(408, "allocate refused")]


def test_a_response_that_is_not_signed_by_the_server_is_ignored() -> None:
    server = Server()
    server.client.start(0.0)
    server.challenge(server.request())
    request = server.request()
    relayed = (Attr.XOR_RELAYED_ADDRESS, stun.xor_address(RELAYED, request.transaction_id))
    server.accept(request, relayed, key=b"another")
    server.refuse(request, 508, key=b"another")
    assert server.client.events() == []
    server.accept(request, relayed)
    assert server.client.relayed == RELAYED


def test_the_allocation_is_refreshed_before_it_ends() -> None:
    server = Server()
    server.allocate()
    assert server.client.deadline() == 540.0
    server.client.expire(540.0)
    request = server.request()
    assert request.method == Method.REFRESH
    server.accept(request, (Attr.LIFETIME, struct.pack("!I", 100)), now=540.0)
    assert server.client.deadline() == 590.0


def test_permissions_wait_for_the_allocation_and_are_renewed() -> None:
    server = Server()
    assert server.client.permit(PEER[0], 0.0)
    assert server.client.permit(PEER[0], 0.0)
    server.allocate()
    request = server.request()
    value = request.get(Attr.XOR_PEER_ADDRESS)
    assert value is not None
    assert stun.read_xor_address(value, request.transaction_id) == (PEER[0], 0)
    assert server.client.wrap(PEER, b"early") is None
    server.accept(request)
    assert server.client.events()[1:] == [Permitted(PEER[0])]
    message = stun.parse(server.client.wrap(PEER, b"now") or b"")
    assert (message.kind, message.method, message.get(Attr.DATA)) == (Kind.INDICATION, Method.SEND, b"now")
    server.client.expire(240.0)
    assert server.request().method == Method.CREATE_PERMISSION


def test_hosts_of_another_family_names_and_too_many_are_not_permitted() -> None:
    client = Server().client
    assert not client.permit("2001:db8::1", 0.0)
    assert not client.permit("peer.local", 0.0)
    assert sum(client.permit(f"198.51.100.{n}", 0.0) for n in range(100)) == 32


def test_a_channel_takes_over_and_carries_data_both_ways() -> None:
    server = Server()
    server.allocate()
    assert server.client.bind(PEER, 1.0)
    request = server.request()
    assert (request.method, request.get(Attr.CHANNEL_NUMBER)) == (Method.CHANNEL_BIND, b"\x40\0\0\0")
    assert server.client.wrap(PEER, b"early") is None
    server.accept(request)
    assert server.client.wrap(PEER, b"data") == b"\x40\0\0\4data"
    assert server.client.receive(channel_data(0x4000, b"back", padded=False), 2.0) == [(PEER, b"back")]
    assert server.client.receive(channel_data(0x4001, b"back", padded=False), 2.0) == []
    assert server.client.dropped == 2


def test_a_refused_channel_leaves_indications() -> None:
    server = Server()
    server.allocate()
    server.client.permit(PEER[0], 1.0)
    server.accept(server.request())
    server.client.bind(PEER, 1.0)
    server.refuse(server.request(), 508, key=KEY)
    assert stun.is_stun(server.client.wrap(PEER, b"data") or b"")


def test_data_indications_are_unwrapped() -> None:
    server = Server()
    server.allocate()
    attributes = [(int(Attr.XOR_PEER_ADDRESS), stun.xor_address(PEER, bytes(12))), (int(Attr.DATA), b"x")]
    data = stun.build(Kind.INDICATION, Method.DATA, bytes(12), attributes)
    assert server.client.receive(data, 1.0) == [(PEER, b"x")]
    assert server.client.receive(stun.build(Kind.INDICATION, Method.DATA, bytes(12)), 1.0) == []


def test_closing_gives_the_allocation_back() -> None:
    server = Server()
    server.allocate()
    server.client.close(1.0)
    request = server.request()
    assert (request.method, request.get(Attr.LIFETIME)) == (Method.REFRESH, bytes(4))
    assert server.client.deadline() is None
    assert server.client.receive(b"anything", 2.0) == []


def test_a_broken_stream_ends_it() -> None:
    server = Server(stream=True)
    server.client.start(0.0)
    server.client.receive(b"SSH-2.0-x", 0.1)
    assert server.client.events() == [TurnFailed(0, "the stream cannot be read")]


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
@settings(max_examples=50)
def test_whatever_the_server_says_never_raises(words: list[bytes], stream: bool) -> None:
    server = Server(stream=stream)
    server.client.start(0.0)
    tid = server.request().transaction_id
    for word in words:
        body = word + bytes(-len(word) & 3)
        for kind in (0x0101, 0x0113, 0x0103, 0x0017):
            head = struct.pack("!HHI", kind, len(body), stun.COOKIE) + tid
            server.client.receive(head + body, 0.0)
        server.client.receive(word, 0.0)
    server.client.expire(100.0)
