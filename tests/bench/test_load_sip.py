from __future__ import annotations

from dataclasses import replace

import pytest

from bench.load.calls import Calls
from bench.load.sip import Caller, audio_address, read_message

CALLER = Caller(17, "room-8", "127.0.0.1:7000", "127.0.0.1:5060", "ab")
ANSWER = "v=0\r\nc=IN IP4 127.0.0.9\r\nm=audio 12000 RTP/AVP 0\r\n"


def response(status: int, method: str = "INVITE", body: str = "") -> bytes:
    lines = [
        f"SIP/2.0 {status} Whatever",
        "Via: SIP/2.0/UDP 127.0.0.1:7000;branch=z9hG4bKab17i",
        "To: <sip:room-8@127.0.0.1:5060>;tag=far",
        "From: <sip:17@127.0.0.1:7000>;tag=t17",
        "Call-ID: 17-ab",
        f"CSeq: 1 {method}",
        "Contact: <sip:vb@127.0.0.1:5060>",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Wire:
    """A caller's network: what was sent, and which call was answered with which address."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answers: list[tuple[int, tuple[str, int]]] = []
        self.ends: list[int] = []
        self.holds: list[tuple[int, bool]] = []
        self.calls = Calls(
            self.sent.append,
            lambda number, address: self.answers.append((number, address)),
            self.ends.append,
            lambda number, held: self.holds.append((number, held)),
        )

    def methods(self) -> list[str]:
        return [data.split(b" ")[0].decode() for data in self.sent]


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.calls.place(CALLER, 9000, 10.0)
    return wire


def test_an_invite_carries_its_offer_and_the_right_length() -> None:
    head, _, body = CALLER.invite(9000).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "INVITE sip:room-8@127.0.0.1:5060 SIP/2.0"
    assert "From: <sip:17@127.0.0.1:7000>;tag=t17" in lines
    assert lines[-1] == f"Content-Length: {len(body)}"
    assert audio_address(body.decode()) == ("127.0.0.1", 9000)


def test_a_message_without_a_body_ends_with_an_empty_line() -> None:
    assert CALLER.bye("sip:vb@127.0.0.1:5060", "far").endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_a_response_is_taken_apart() -> None:
    received = read_message(response(200, body=ANSWER))
    assert received is not None
    assert (received.status, received.method, received.to_tag) == (200, "INVITE", "far")
    assert received.contact == "sip:vb@127.0.0.1:5060"
    assert received.body == ANSWER


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\x80\x00\x01", b"nothing of the kind"])
def test_what_is_no_sip_is_no_message(data: bytes) -> None:
    assert read_message(data) is None


def test_a_refused_stream_has_no_address() -> None:
    assert audio_address("c=IN IP4 127.0.0.9\r\nm=audio 0 RTP/AVP 0\r\n") is None


def test_a_200_is_acknowledged_at_its_contact_and_timed(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    call = wire.calls.by_number[17]
    assert wire.sent[1].startswith(b"ACK sip:vb@127.0.0.1:5060 SIP/2.0\r\n")
    assert b">;tag=far\r\n" in wire.sent[1]
    assert (call.state, call.setup_ms) == ("up", 250.0)
    assert wire.answers == [(17, ("127.0.0.9", 12000))]


def test_a_repeated_200_is_acknowledged_again_but_answered_once(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(response(200, body=ANSWER), 10.75)
    assert wire.methods() == ["INVITE", "ACK", "ACK"]
    assert len(wire.answers) == 1
    assert wire.calls.by_number[17].setup_ms == 250.0


def test_a_refusal_is_acknowledged_and_counted(wire: Wire) -> None:
    wire.calls.receive(response(503), 10.1)
    assert wire.sent[1].startswith(b"ACK sip:room-8@127.0.0.1:5060 SIP/2.0\r\n")
    assert wire.calls.by_number[17].state == "failed"
    assert wire.calls.refused == {503: 1}


def test_an_invite_without_a_response_is_sent_again(wire: Wire) -> None:
    wire.calls.expire(10.49)
    assert wire.methods() == ["INVITE"]
    wire.calls.expire(10.5)
    wire.calls.expire(11.4)
    wire.calls.expire(11.5)
    assert wire.methods() == ["INVITE"] * 3
    assert wire.calls.resent == 2


def test_an_invite_is_not_sent_again_after_a_100(wire: Wire) -> None:
    wire.calls.receive(response(100), 10.1)
    for now in (10.5, 12.0, 30.0):
        wire.calls.expire(now)
    assert wire.methods() == ["INVITE"]


def test_a_call_that_is_never_answered_is_given_up(wire: Wire) -> None:
    wire.calls.receive(response(100), 10.1)
    for now in (10.5, 41.9):
        wire.calls.expire(now)
    assert wire.calls.unfinished == {17}
    wire.calls.expire(42.0)
    assert wire.calls.unfinished == set()
    assert wire.calls.refused == {0: 1}


def test_hanging_up_ends_with_the_200_to_the_bye(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.hang_up(17, 11.0)
    assert wire.sent[-1].startswith(b"BYE sip:vb@127.0.0.1:5060 SIP/2.0\r\n")
    wire.calls.receive(response(200, "BYE"), 11.1)
    assert wire.calls.count("ended") == 1


def test_a_bye_of_the_server_is_agreed_to(wire: Wire) -> None:
    request = b"BYE sip:17@127.0.0.1:7000 SIP/2.0\r\nVia: x\r\nCall-ID: 17-ab\r\nCSeq: 9 BYE\r\n\r\n"
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(request, 12.0)
    assert wire.sent[-1].startswith(b"SIP/2.0 200 OK\r\nvia: x\r\n")
    assert wire.calls.by_number[17].state == "ended"


def test_a_response_of_another_run_is_ignored(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER).replace(b"17-ab", b"17-cd"), 10.25)
    assert wire.calls.by_number[17].state == "calling"


def request(method: str, body: str = "", cseq: int = 9) -> bytes:
    head = (
        f"{method} sip:17@127.0.0.1:7000 SIP/2.0\r\nVia: x\r\nCall-ID: 17-ab\r\nCSeq: {cseq} {method}\r\n\r\n"
    )
    return (head + body).encode()


def test_a_hold_is_answered_with_the_other_direction(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(request("INVITE", ANSWER + "a=sendonly\r\n"), 11.0)
    assert wire.sent[-1].startswith(b"SIP/2.0 200 OK\r\n")
    assert b"\r\na=recvonly\r\n" in wire.sent[-1]
    wire.calls.receive(request("INVITE", ANSWER, cseq=10), 12.0)
    assert b"\r\na=sendrecv\r\n" in wire.sent[-1]
    assert wire.holds == [(17, True), (17, False)]


def test_a_transfer_is_accepted_and_told_to_have_succeeded(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(request("REFER"), 11.0)
    assert wire.methods()[-3:] == ["SIP/2.0", "NOTIFY", "NOTIFY"]
    assert wire.sent[-3].startswith(b"SIP/2.0 202 Accepted\r\n")
    assert wire.sent[-1].endswith(b"\r\n\r\nSIP/2.0 200 OK\r\n")


def test_a_repeated_transfer_is_told_of_once(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(request("REFER"), 11.0)
    wire.calls.receive(request("REFER"), 11.5)
    assert wire.methods().count("NOTIFY") == 2


def test_the_end_of_a_call_is_told_once(wire: Wire) -> None:
    wire.calls.receive(response(200, body=ANSWER), 10.25)
    wire.calls.receive(request("BYE"), 12.0)
    wire.calls.receive(request("BYE"), 12.5)
    assert wire.ends == [17]
    assert wire.calls.count("ended") == 1
    assert wire.calls.count("up") == 0


def test_digits_are_offered_where_they_are_wanted() -> None:
    plain, with_digits = CALLER.invite(9000), replace(CALLER, digits=True).invite(9000)
    assert b"telephone-event" not in plain
    assert b"m=audio 9000 RTP/AVP 0 101\r\n" in with_digits
    assert b"a=rtpmap:101 telephone-event/8000\r\n" in with_digits
