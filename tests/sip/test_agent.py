"""What an agent does with requests outside dialogs, with addresses, limits and damaged messages."""

from __future__ import annotations

import pytest

from tests.support.ids import SequentialIds
from tests.support.sip_pair import ANSWER, OFFER, RawPeer, dial_plan, statuses
from vb.errors import Unavailable
from vb.sip.agent import UserAgent
from vb.sip.hop import Hop
from vb.sip.message import Response
from vb.sip.parser import MAX_HEADERS
from vb.sip.settings import AgentSettings

ALLOW = "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, REFER, NOTIFY, OPTIONS"


def only(messages: list[object]) -> Response:
    (message,) = messages
    assert isinstance(message, Response)
    return message


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 200), ("BYE", 481), ("UPDATE", 481), ("REFER", 603), ("NOTIFY", 481), ("PRACK", 481)]
    + [(m, 405) for m in ("INFO", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REGISTER", "FOO")],
)
def test_requests_outside_a_dialog(peer: RawPeer, method: str, status: int) -> None:
    answer = only([*peer.send(peer.request(method))])
    assert answer.status == status
    assert answer.to.tag
    assert answer.headers.get("Server") == "voiceblender"
    if status in (200, 405):
        assert answer.headers.get("Allow") == ALLOW
    assert peer.agent.transactions == 0


def test_a_repeated_request_gets_the_same_stateless_tag(peer: RawPeer) -> None:
    options = peer.request("OPTIONS")
    assert only([*peer.send(options)]).to.tag == only([*peer.send(options)]).to.tag


def test_an_unknown_required_option_gets_420(peer: RawPeer) -> None:
    answer = only([*peer.send(peer.request("INVITE", headers={"Require": "x-unknown, 199"}))])
    assert answer.status == 420
    assert answer.headers.get("Unsupported") == "x-unknown, 199"


def test_the_same_request_on_another_branch_gets_482(peer: RawPeer) -> None:
    peer.invite()
    copy = peer.request("INVITE", body=OFFER, branch="z9hG4bKother")
    assert statuses(peer.send(copy)) == [482]
    assert len(peer.side.calls) == 1


@pytest.mark.parametrize("name", ["Contact", "From", "To", "Call-ID", "CSeq"])
def test_an_invite_without_a_mandatory_header_gets_400(peer: RawPeer, name: str) -> None:
    assert statuses(peer.send(peer.request("INVITE", body=OFFER, headers={name: None}))) == [400]
    assert peer.agent.calls == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CSeq", "1 BYE"),
        ("CSeq", "99999999999 INVITE"),
        ("CSeq", "x INVITE"),
        ("From", "<sip:alice@127.0.0.1"),
        ("From", "<sip:alice@127.0.0.1>"),
        ("To", ""),
        ("Contact", "*"),
        ("Contact", "<tel:+1555>"),
        ("Record-Route", "<http://x/>"),
    ],
)
def test_an_invite_with_a_bad_header_gets_400(peer: RawPeer, name: str, value: str) -> None:
    assert statuses(peer.send(peer.request("INVITE", body=OFFER, headers={name: value}))) == [400]
    assert peer.agent.transactions == 0


@pytest.mark.parametrize(
    "line", [b"no colon", b"X Y: z", b"Subject: a\x01b", b"Max-Forwards: -1", b"Expires: soon"]
)
def test_a_header_line_that_nobody_needs_is_ignored_and_counted(peer: RawPeer, line: bytes) -> None:
    data = peer.request("INVITE", body=OFFER, headers={"Max-Forwards": None})
    answers = peer.send(data.replace(b"Call-ID:", line + b"\r\nCall-ID:"))
    assert (statuses(answers), peer.agent.calls) == ([100], 1)
    assert (peer.agent.stats.ignored_header_lines, peer.agent.stats.malformed) == (1, 0)


@pytest.mark.parametrize(
    "headers",
    [{"Subject": "s" * 9000}, {f"X-{number}": "y" for number in range(MAX_HEADERS)}],
    ids=["a line too long", "too many headers"],
)
def test_a_message_beyond_limits_is_told_so(peer: RawPeer, headers: dict[str, str | None]) -> None:
    assert statuses(peer.send(peer.request("INVITE", body=OFFER, headers=headers))) == [513]
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)


def test_a_request_without_a_readable_via_is_dropped(peer: RawPeer) -> None:
    assert peer.send(peer.request("OPTIONS", headers={"Via": "nonsense"})) == []
    assert peer.send(peer.request("OPTIONS", headers={"Via": None})) == []
    assert peer.agent.stats.malformed == 2


def test_a_damaged_ack_is_never_answered(peer: RawPeer) -> None:
    assert peer.send(peer.request("ACK", headers={"Call-ID": None})) == []
    assert peer.send(peer.request("ACK", to_tag="unknown")) == []


def test_max_forwards_0_is_no_fault_at_the_end_of_the_route(peer: RawPeer) -> None:
    assert statuses(peer.send(peer.request("OPTIONS", headers={"Max-Forwards": "0"}))) == [200]


@pytest.mark.parametrize(("uri", "status"), [("tel:+", 416), ("http://x/", 416), ("sip:a@[bad", 400)])
def test_a_request_uri_that_is_no_sip_uri(peer: RawPeer, uri: str, status: int) -> None:
    assert statuses(peer.send(peer.request("INVITE", body=OFFER, uri=uri))) == [status]


@pytest.mark.parametrize("uri", ["tel:+1555", "TEL:+1-(555).0100", "tel:*21#;phone-context=+49"])
def test_a_bare_number_is_called_like_any_other(peer: RawPeer, uri: str) -> None:
    assert statuses(peer.send(peer.request("INVITE", body=OFFER, uri=uri))) == [100]
    assert peer.side.call.invite.uri == uri
    assert statuses(peer.send(peer.request("OPTIONS", uri=uri, call_id="other"))) == [200]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": None},
        {"Content-Encoding": "gzip"},
        {"Content-Type": "multipart/mixed;boundary=b"},
    ],
)
def test_a_body_that_we_do_not_take_gets_415(peer: RawPeer, headers: dict[str, str | None]) -> None:
    answer = only([*peer.send(peer.request("INVITE", body=OFFER, headers=headers))])
    assert answer.status == 415
    assert answer.headers.get("Accept") == "application/sdp, multipart/mixed"
    assert answer.headers.get("Accept-Encoding") == "identity"


def test_sdp_is_found_in_a_multipart_body(peer: RawPeer) -> None:
    body = b"--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
    body += OFFER + b"\r\n--b1--\r\n"
    headers = {"Content-Type": 'multipart/mixed;boundary="b1"'}
    peer.send(peer.request("INVITE", body=body, headers=headers))
    assert peer.side.call.offer == OFFER


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0\0\0\0", b"\r\n", b"  "])
def test_keep_alives_are_dropped_silently(peer: RawPeer, data: bytes) -> None:
    assert peer.send(data) == []
    assert (peer.agent.stats.keep_alives, peer.agent.stats.malformed) == (1, 0)


def test_a_version_that_we_do_not_speak_gets_505(peer: RawPeer) -> None:
    data = peer.request("OPTIONS").replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1)
    assert statuses(peer.send(data)) == [505]


# -- addresses --------------------------------------------------------------------------------------


def test_rport_sends_responses_to_the_source() -> None:
    peer = RawPeer(source=Hop("udp", "127.0.0.5", 40000))
    answer = only([*peer.send(peer.request("OPTIONS"))])
    assert peer.hops == [Hop("udp", "127.0.0.5", 40000)]
    assert (answer.via.params["rport"], answer.via.params["received"]) == ("40000", "127.0.0.5")


def test_without_rport_responses_go_to_the_port_of_the_via() -> None:
    peer = RawPeer(source=Hop("udp", "127.0.0.5", 40000))
    via = "SIP/2.0/UDP host.example.com:5070;branch=z9hG4bKx"
    answer = only([*peer.send(peer.request("OPTIONS", headers={"Via": via}))])
    assert peer.hops == [Hop("udp", "127.0.0.5", 5070)]
    assert answer.via.params["received"] == "127.0.0.5"


def test_a_via_that_names_the_source_stays_as_it_is(peer: RawPeer) -> None:
    via = "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKx, SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKy"
    answer = only([*peer.send(peer.request("OPTIONS", headers={"Via": via}))])
    assert answer.headers.get("Via") == via


def test_the_source_socket_mode_ignores_via_and_contact() -> None:
    settings = AgentSettings(port=5062, use_source_socket=True)
    source = Hop("udp", "127.0.0.5", 40000)
    peer = RawPeer(settings, source)
    via = "SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bKx"
    peer.send(peer.request("INVITE", body=OFFER, headers={"Via": via}))
    peer.side.call.accept(ANSWER, 0.0)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=peer.side.call.local_tag))
    peer.side.call.hangup(0.0)
    peer.collect()
    assert set(peer.hops) == {source}


def test_requests_of_a_tcp_dialog_use_its_connection() -> None:
    source = Hop("tcp", "127.0.0.1", 40000, flow=3)
    peer = RawPeer(source=source)
    call = peer.connected()
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert peer.hops[-1] == Hop("tcp", "127.0.0.1", 5061, flow=3)
    assert bye.via.transport == "TCP"


def test_contact_and_via_name_family_port_and_transport() -> None:
    settings = AgentSettings(port=5071, host6="::1")
    agent = UserAgent(settings, SequentialIds())
    hop = Hop("tcp", "::1", 5061)
    assert agent.local_contact(hop) == "<sip:[::1]:5071;transport=tcp>"
    assert agent.local_via(hop).startswith("SIP/2.0/TCP [::1]:5071;branch=z9hG4bK")
    assert agent.local_contact(Hop("udp", "127.0.0.1", 5061)) == "<sip:127.0.0.1:5071>"


# -- limits -----------------------------------------------------------------------------------------


def test_calls_beyond_the_limit_get_503_without_state() -> None:
    peer = RawPeer(AgentSettings(port=5062, max_calls=1))
    peer.invite()
    answer = only([*peer.send(peer.request("INVITE", body=OFFER, call_id="second"))])
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")
    assert (peer.agent.calls, peer.agent.stats.refused_overload) == (1, 1)
    with pytest.raises(Unavailable):
        peer.agent.dial(dial_plan(peer.source))


def test_refuse_new_is_asked_before_a_call_is_made(peer: RawPeer) -> None:
    peer.agent.refuse_new = lambda is_call: (503, "Draining", [("Retry-After", "30")])
    answer = only([*peer.send(peer.request("INVITE", body=OFFER))])
    assert (answer.status, answer.reason, answer.headers.get("Retry-After")) == (503, "Draining", "30")
    assert peer.agent.calls == 0


def test_options_are_answered_as_an_invite_would_be(peer: RawPeer) -> None:
    asked: list[bool] = []
    peer.agent.refuse_new = asked.append  # which returns None: calls may come
    assert only([*peer.send(peer.request("OPTIONS"))]).status == 200
    assert asked == [False]
    peer.agent.refuse_new = lambda is_call: (503, None, [("Retry-After", "30")])
    answer = only([*peer.send(peer.request("OPTIONS"))])
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "30")
    assert "INVITE" in (answer.headers.get("Allow") or "")
    assert peer.agent.stats.refused_overload == 0


def test_options_are_refused_where_there_is_no_room_for_a_call() -> None:
    peer = RawPeer(AgentSettings(port=5062, max_calls=1))
    call = peer.connected()
    assert only([*peer.send(peer.request("OPTIONS"))]).status == 503
    inside = peer.request("OPTIONS", to_tag=call.local_tag, cseq=2)
    assert only([*peer.send(inside)]).status == 200
    assert peer.agent.stats.refused_overload == 0


def test_nothing_is_left_after_many_calls(peer: RawPeer) -> None:
    for number in range(50):
        call_id = f"call-{number}"
        peer.send(peer.request("INVITE", body=OFFER, call_id=call_id))
        call = peer.side.call
        call.accept(ANSWER, peer.now)
        peer.send(peer.request("ACK", to_tag=call.local_tag, call_id=call_id))
        peer.send(peer.request("BYE", to_tag=call.local_tag, call_id=call_id, cseq=2))
    peer.advance(100)
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)
    assert peer.agent.deadline() is None


def test_a_flood_of_unacked_invites_leaves_nothing(peer: RawPeer) -> None:
    for number in range(50):
        peer.send(peer.request("INVITE", body=OFFER, call_id=f"call-{number}"))
        peer.side.call.reject(486, peer.now)
    peer.advance(100)
    assert (peer.agent.calls, peer.agent.transactions, peer.agent.deadline()) == (0, 0, None)
