"""Sessions of aioquic's clients with the endpoint, over a virtual network."""

from __future__ import annotations

import json

import pytest
from aioquic.quic.events import StopSendingReceived, StreamReset

from tests.quic.world import DELAY_S, World, bad_network
from vb.quic.session import Refusal
from vb.quic.webtransport import MAX_UNSENT_BYTES, to_http_code


def test_a_session_opens_after_the_address_was_proved() -> None:
    world = World()
    client, peer = world.joined("198.51.100.7", (b"origin", b"https://app.test"), (b"x-call", b"7"))
    assert client.answer(client.session_id or 0)[0] == 200
    assert world.endpoint.answered["retry"] == 1
    assert peer.request.path == "/v1/legs/moq"
    assert peer.request.address[0] == "198.51.100.7"
    assert peer.request.origin == "https://app.test"
    assert ("x-call", "7") in peer.request.headers
    assert (world.endpoint.sessions, world.endpoint.handshakes) == (1, 0)


def test_the_query_comes_raw() -> None:
    world = World()
    client = world.client()
    world.run(1.0)
    client.connect("room_id=a%20b&app_id=")
    world.run(1.0)
    assert world.peers[0].request.query == "room_id=a%20b&app_id="


def test_the_protocol_that_both_know_is_named() -> None:
    world = World()
    client, _ = world.joined("198.51.100.1", (b"wt-available-protocols", b'"other", "moq-00"'))
    assert client.answer(client.session_id or 0)[1]["wt-protocol"] == '"moq-00"'
    other, _ = world.joined("198.51.100.2", (b"wt-available-protocols", b'"other"'))
    assert "wt-protocol" not in other.answer(other.session_id or 0)[1]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_streams_of_the_client_arrive_whole(bidirectional: bool) -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=bidirectional, first=b"one ")
    world.run(0.5)
    client.send(stream, b"two", fin=True)
    world.run(0.5)
    assert peer.received(stream) == b"one two"
    assert peer.told[-1][3] is True


def test_datagrams_of_the_session_arrive_and_others_do_not() -> None:
    world = World()
    client, peer = world.joined()
    assert client.http is not None
    assert client.session_id is not None
    for session, data in ((client.session_id, b"one"), (client.session_id + 4, b"two")):
        client.http.send_datagram(session, data)
        client.flush()
        world.run(0.5)
    assert [what for what in peer.told if what[0] == "datagram"] == [("datagram", b"one")]
    client.quic.send_datagram_frame(b"")
    client.flush()
    world.run(0.5)
    assert client.end_code() == 0x33  # H3_DATAGRAM_ERROR, RFC 9297 section 2.1


@pytest.mark.parametrize("bidirectional", [True, False])
def test_streams_of_ours_arrive_whole(bidirectional: bool) -> None:
    world = World()
    client, peer = world.joined()
    stream = peer.session.open_stream(bidirectional=bidirectional)
    peer.session.send(stream, b"one ")
    peer.session.send(stream, b"two", fin=True)
    world.run(0.5)
    assert client.received(stream) == b"one two"


def test_both_ends_talk_on_a_bidirectional_stream_of_either() -> None:
    world = World()
    client, peer = world.joined()
    theirs = client.open(bidirectional=True, first=b"ping")
    world.run(0.5)
    peer.session.send(theirs, b"pong")
    ours = peer.session.open_stream(bidirectional=True)
    peer.session.send(ours, b"ping")
    world.run(0.5)
    with client.http._get_or_create_stream(ours) as found:  # type: ignore[union-attr]
        found.frame_type, found.session_id = 0x41, client.session_id
    client.send(ours, b"pong", fin=True)
    world.run(0.5)
    assert client.received(theirs) == b"pong"
    assert peer.received(ours) == b"pong"
    assert client.ended is None


def test_resets_and_stops_reach_both_ends_with_their_codes() -> None:
    world = World()
    client, peer = world.joined()
    up, down = client.open(bidirectional=False, first=b"x"), peer.session.open_stream(bidirectional=False)
    peer.session.send(down, b"x")
    world.run(0.5)
    client.quic.reset_stream(up, to_http_code(7))
    client.quic.stop_stream(down, to_http_code(0xFFFFFFFF))
    world.run(0.5)
    assert ("reset", up, 7) in peer.told
    assert ("stopped", down, 0xFFFFFFFF) in peer.told
    up, down = client.open(bidirectional=False, first=b"x"), peer.session.open_stream(bidirectional=False)
    peer.session.send(down, b"x")
    world.run(0.5)
    peer.session.stop(up, 30)
    peer.session.reset(down, 31)
    world.run(0.5)
    assert StopSendingReceived(to_http_code(30), up) in client.told
    assert StreamReset(to_http_code(31), down) in client.told


def test_the_client_ends_a_session_by_a_capsule() -> None:
    world = World()
    client, peer = world.joined()
    stream = peer.session.open_stream(bidirectional=False)
    peer.session.send(stream, b"x")
    world.run(0.5)
    assert client.http is not None
    client.http.send_data(client.session_id or 0, bytes.fromhex("6843 06 00000009") + b"by", end_stream=True)
    world.run(0.5)
    assert peer.told[-1] == ("closed", 9, "by")
    told = len(peer.told)
    peer.session.send(stream, b"y")
    peer.session.close()
    with pytest.raises(LookupError):
        peer.session.open_stream(bidirectional=True)
    world.run(5.0)
    assert len(peer.told) == told
    assert client.ended is not None
    world.run(60.0)
    assert world.endpoint.kept == 0


def test_we_end_a_session_by_a_capsule_and_then_the_connection() -> None:
    world = World()
    client, peer = world.joined()
    peer.session.close(42, "good night")
    assert peer.told == [("closed", 42, "good night")]
    world.run(1.0)
    close = client.close_capsule()
    assert close is not None
    assert (close.code, close.reason) == (42, "good night")
    assert client.end_code() is None
    world.run(5.0)
    assert client.end_code() == 0x100
    world.run(60.0)
    assert world.endpoint.kept == 0


def test_a_client_that_closes_its_connection_ends_the_session_at_once() -> None:
    world = World()
    client, peer = world.joined()
    client.quic.close()
    client.flush()
    world.run(3 * DELAY_S)
    assert peer.told[-1][:2] == ("closed", 0)


def test_a_client_that_vanishes_ends_the_session_within_thirty_seconds() -> None:
    world = World()
    client, peer = world.joined()
    del world.clients[client.address]
    world.run(15.0)
    assert not peer.told
    world.run(15.0)
    assert peer.told[-1][0] == "closed"
    assert peer.told[-1][1] != 0
    assert world.endpoint.kept == 0


def test_a_silent_session_stays() -> None:
    world = World()
    client, peer = world.joined()
    world.run(300.0)
    assert not peer.told
    assert client.ended is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/legs/moq", 405),
        ("POST", "/v1/legs/moq?a=b", 405),
        ("GET", "/", 404),
        ("POST", "/v1/legs", 404),
    ],
)
def test_plain_requests_are_answered(method: str, path: str, status: int) -> None:
    world = World()
    client = world.client()
    world.run(1.0)
    stream = client.ask(method, path)
    world.run(1.0)
    got, headers, body = client.answer(stream)
    assert got == status
    assert json.loads(body) | {"error": ""} == {"instance_id": "an instance", "error": ""}
    assert (headers.get("allow") == "CONNECT") == (status == 405)


def test_a_refused_request_gets_its_status_and_a_body() -> None:
    world = World()
    world.answer = lambda request: Refusal(503, "too many legs")
    client = world.client()
    world.run(1.0)
    stream = client.connect()
    world.run(1.0)
    status, _, body = client.answer(stream)
    assert status == 503
    assert world.endpoint.refused == 1
    assert json.loads(body)["error"] == "too many legs"
    world.run(15.0)
    assert client.ended is not None


def test_a_second_session_on_a_connection_is_refused_and_the_first_goes_on() -> None:
    world = World()
    client, peer = world.joined()
    first = client.session_id
    second = client.connect()
    world.run(1.0)
    assert client.answer(second)[0] == 429
    client.session_id = first
    stream = client.open(bidirectional=False, first=b"still here")
    world.run(0.5)
    assert peer.received(stream) == b"still here"


def test_a_stream_of_no_session_is_refused_alone() -> None:
    world = World()
    client, peer = world.joined()
    first = client.session_id
    client.session_id = 400
    wrong = client.open(bidirectional=True, first=b"x")
    client.session_id = first
    world.run(0.5)
    assert any(isinstance(event, StreamReset) and event.stream_id == wrong for event in client.told)
    assert not peer.told
    assert client.ended is None


def test_a_receiver_that_fails_ends_its_session_alone() -> None:
    world = World()
    client, peer = world.joined()
    other, quiet = world.joined("198.51.100.2")
    peer.fails_on = "data"
    client.open(bidirectional=False, first=b"x")
    world.run(0.5)
    assert peer.told[-1][0] == "closed"
    assert world.faults == ["session"]
    stream = other.open(bidirectional=False, first=b"well")
    world.run(0.5)
    assert quiet.received(stream) == b"well"


def test_a_stream_that_nobody_reads_is_given_up() -> None:
    world = World()
    client, peer = world.joined()
    del world.clients[client.address]
    stream = peer.session.open_stream(bidirectional=False)
    sent = 0
    while sent <= MAX_UNSENT_BYTES:
        assert peer.session.unsent(stream) <= MAX_UNSENT_BYTES
        peer.session.send(stream, bytes(1000))
        sent += 1000
        world.run(0.01)
    assert ("stopped", stream, 0) in peer.told
    assert world.endpoint.overruns == 1


def test_what_was_acknowledged_is_not_unsent() -> None:
    world = World()
    _, peer = world.joined()
    stream = peer.session.open_stream(bidirectional=False)
    world.run(0.5)
    peer.session.send(stream, bytes(3000))
    assert peer.session.unsent(stream) == 3000
    world.run(0.5)
    assert peer.session.unsent(stream) == 0


def test_no_more_streams_than_the_peer_allows() -> None:
    world = World()
    _, peer = world.joined()
    for _ in range(125):  # the client's 128 without the three of HTTP/3
        peer.session.open_stream(bidirectional=False)
    with pytest.raises(LookupError):
        peer.session.open_stream(bidirectional=False)


@pytest.mark.parametrize("seed", range(4))
def test_streams_survive_loss_reordering_and_doubles(seed: int) -> None:
    world = World(damage=bad_network(seed, loss=0.1, doubled=0.1))
    client = world.client()
    world.run(5.0)
    client.connect()
    world.run(5.0)
    peer = world.peers[0]
    down = peer.session.open_stream(bidirectional=False)
    up = client.open(bidirectional=False)
    for number in range(200):
        client.send(up, b"%06d" % number)
        peer.session.send(down, b"%06d" % number)
        world.run(0.02)
    world.run(3.0)
    expected = b"".join(b"%06d" % number for number in range(200))
    assert peer.received(up) == expected
    assert client.received(down) == expected


def test_a_stream_for_each_object_leaves_nothing_behind() -> None:
    world = World()
    client, peer = world.joined()

    def talk(seconds: int) -> None:
        for _ in range(seconds * 50):
            stream = peer.session.open_stream(bidirectional=False)
            peer.session.send(stream, bytes(80), fin=True)
            client.open(bidirectional=False, first=bytes(80), fin=True)
            world.run(0.02)

    talk(10)
    first = world.endpoint.kept
    talk(20)
    assert world.endpoint.kept <= first + 20
