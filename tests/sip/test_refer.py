"""What REFER and its NOTIFYs say, as text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.errors import SipParseError
from vb.sip.headers import parse_name_addr
from vb.sip.message import Headers, Request
from vb.sip.refer import (
    Replaces,
    SubscriptionState,
    event_id,
    parse_replaces,
    read_refer,
    read_sipfrag,
    refer_to,
    sipfrag,
    subscription_state,
)
from vb.sip.uri import parse_uri

TAGS = st.text("abcXYZ0189-.!%*_+`'~", min_size=1, max_size=20)
WORDS = st.text("abcXYZ0189-.!%*_+`'~()<>:\\\"/[]?{}", min_size=1, max_size=20)


def refer(*values: str, **headers: str) -> Request:
    pairs = [("Refer-To", value) for value in values]
    pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("REFER", "sip:bob@127.0.0.1", Headers(pairs))


def notify(body: bytes = b"", **headers: str) -> Request:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("NOTIFY", "sip:bob@127.0.0.1", Headers(pairs), body)


def test_a_blind_refer_names_its_target() -> None:
    found = read_refer(refer("<sip:dave@Example.com;transport=tcp>", Referred_By="<sip:x@example.com>"))
    assert (found.target, found.replaces) == ("sip:dave@example.com;transport=tcp", None)
    assert found.headers == (("Referred-By", "<sip:x@example.com>"),)
    assert found.wants_notify


def test_an_attended_refer_names_the_dialog_too() -> None:
    replaced = "Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only&Require=replaces"
    found = read_refer(refer(f'"Dave" <sip:dave@example.com?{replaced}>'))
    assert found.target == "sip:dave@example.com"
    assert found.replaces == Replaces("a@b", "1", "2", early_only=True)
    assert found.headers == (
        ("Replaces", "a@b;to-tag=1;from-tag=2;early-only"),
        ("Require", "replaces"),
    )


@pytest.mark.parametrize(
    "value",
    [
        "<sip:dave@example.com?Replaces=a@b;to-tag=1;from-tag=2>",
        "<sip:dave@example.com?Replaces=a@b%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        "sip:dave@example.com?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2",
        " sip:dave@example.com?Replaces=a@b;to-tag=1;from-tag=2 ",
    ],
)
def test_brackets_and_escapes_of_a_replaces_may_be_missing(value: str) -> None:
    found = read_refer(refer(value))
    assert (found.target, found.replaces) == ("sip:dave@example.com", Replaces("a@b", "1", "2"))


def test_other_headers_of_the_target_are_left_out() -> None:
    found = read_refer(refer("<sip:dave@example.com?Route=%3Csip:evil%3E&X-Api=1>"))
    assert (found.target, found.headers) == ("sip:dave@example.com", ())


def test_a_bare_number_is_a_target() -> None:
    found = read_refer(refer("Bob <tel:+49-30-1;phone-context=x.example>", Refer_Sub="false"))
    assert (found.target, found.wants_notify) == ("tel:+49-30-1;phone-context=x.example", False)


def test_a_hash_in_a_target_of_ours_is_escaped() -> None:
    assert refer_to("sip:*21#@b") == "<sip:*21%23@b>"


def test_the_compact_form_is_understood() -> None:
    request = Request("REFER", "sip:b", Headers([("r", "sip:dave@example.com"), ("b", "<sip:x@y>")]))
    assert read_refer(request).headers == (("Referred-By", "<sip:x@y>"),)


def test_an_unreadable_referred_by_is_dropped() -> None:
    assert read_refer(refer("<sip:dave@example.com>", Referred_By='"x')).referred_by is None


def test_refer_sub_false_asks_for_no_notify() -> None:
    assert not read_refer(refer("<sip:dave@example.com>", Refer_Sub="false ; x=1")).wants_notify


@pytest.mark.parametrize(
    "value",
    [
        "<nonsense>",
        "<sip:>",
        "<http://x/>",
        "<tel:+>",
        "<tel:+4930?Replaces=x>",
        "<<>>",
        "",
        "sip:a@b?Replaces=x",
        f"<sip:{'a' * 5000}@b>",
        "<sip:a@b>, <sip:c@d>",
        "<sip:a@b?Replaces=x>",
        "<sip:a@b?Replaces=x%3Bto-tag%3D1>",
        "<sip:a@b?Replaces=x%0D%0AVia:%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        "<sip:a@b?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2&replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>",
    ],
)
def test_a_bad_target_is_refused(value: str) -> None:
    with pytest.raises(SipParseError) as caught:
        read_refer(refer(value))
    assert (caught.value.status, str(caught.value)) == (400, "Bad Refer-To")


def test_none_or_two_targets_are_refused() -> None:
    with pytest.raises(SipParseError, match="Missing Refer-To"):
        read_refer(refer())
    with pytest.raises(SipParseError, match="Multiple Refer-To"):
        read_refer(refer("<sip:a@b>", "<sip:c@d>"))


def test_only_invites_can_be_asked_for() -> None:
    assert read_refer(refer("<sip:a@b;method=INVITE>")).target == "sip:a@b"
    with pytest.raises(SipParseError) as caught:
        read_refer(refer("<sip:a@b;method=BYE>"))
    assert caught.value.status == 501


def test_an_attended_refer_to_is_escaped_as_recorded() -> None:
    value = refer_to("sip:call2@127.0.0.1:5061", Replaces("callid-call2", "tag-of-call2", "tag-of-us"))
    assert value == (
        "<sip:call2@127.0.0.1:5061?Replaces=callid-call2%3Bto-tag%3Dtag-of-call2%3Bfrom-tag%3Dtag-of-us>"
    )
    assert refer_to("sip:carol@example.com") == "<sip:carol@example.com>"


@given(st.builds(lambda a, b: f"{a}@{b}", WORDS, WORDS) | WORDS, TAGS, TAGS, st.booleans())
def test_what_we_ask_for_is_what_is_read(call_id: str, to_tag: str, from_tag: str, early: bool) -> None:
    replaces = Replaces(call_id, to_tag, from_tag, early)
    value = refer_to("sip:a@b;transport=tcp", replaces)
    assert parse_uri(parse_name_addr(value).uri).host == "b"
    found = read_refer(refer(value))
    assert (found.target, found.replaces) == ("sip:a@b;transport=tcp", replaces)


@given(st.text())
def test_any_text_is_a_replaces_or_a_named_error(text: str) -> None:
    with contextlib.suppress(SipParseError):
        found = parse_replaces(text)
        assert parse_replaces(str(found)) == found


@given(st.text(), st.text(), st.binary(), st.text())
def test_any_notify_is_read_or_refused_by_name(event: str, state: str, body: bytes, kind: str) -> None:
    request = notify(body, Event=event, Subscription_State=state, Content_Type=kind)
    assert event_id(request) is None or isinstance(event_id(request), str)
    with contextlib.suppress(SipParseError):
        assert isinstance(subscription_state(request), SubscriptionState)
    with contextlib.suppress(SipParseError):
        found = read_sipfrag(request)
        assert found is None or 100 <= found[0] <= 699


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"SIP/2.0 100 Trying\r\n", (100, "Trying")),
        (b"SIP/2.0 486 Busy Here\r\nTo: <sip:a@b>\r\n\r\n", (486, "Busy Here")),
        (b"SIP/2.0 200\r\n", (200, "")),
        (b"\r\nsip/2.0 603 Nein, danke", (603, "Nein, danke")),
        (b"", None),
        (b"\r\n", None),
    ],
)
def test_a_sipfrag_tells_a_status(body: bytes, found: tuple[int, str] | None) -> None:
    assert read_sipfrag(notify(body, Content_Type="message/sipfrag;version=2.0")) == found


@pytest.mark.parametrize(
    "body", [b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 2000 OK\r\n", b"SIP/2.0 OK", b"\xff"]
)
def test_other_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(SipParseError) as caught:
        read_sipfrag(notify(body, Content_Type="message/sipfrag"))
    assert caught.value.status == 400


def test_a_body_of_another_type_is_refused_with_415() -> None:
    with pytest.raises(SipParseError) as caught:
        read_sipfrag(notify(b"x", Content_Type="text/plain"))
    assert caught.value.status == 415


def test_a_long_reason_is_cut() -> None:
    assert read_sipfrag(notify(sipfrag(486, "x" * 5000))) == (486, "x" * 256)


def test_our_sipfrag_can_be_read() -> None:
    assert read_sipfrag(notify(sipfrag(486, "Busy Here"))) == (486, "Busy Here")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("active;expires=60", SubscriptionState(False, None, 60)),
        ("Terminated ; reason=noresource", SubscriptionState(True, "noresource", None)),
        ("pending;expires=-1", SubscriptionState(False, None, None)),
        ("active;expires=99999999999", SubscriptionState(False, None, None)),
    ],
)
def test_subscription_states(value: str, found: SubscriptionState) -> None:
    assert subscription_state(notify(Subscription_State=value)) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("refer", ""),
        ("Refer;id=93809824", "93809824"),
        ("refer;id", ""),
        ("presence", None),
        ("refer;;", None),
    ],
)
def test_event_ids(value: str, found: str | None) -> None:
    assert event_id(notify(Event=value)) == found


def test_a_notify_without_event_belongs_to_nothing() -> None:
    assert event_id(notify()) is None
    assert subscription_state(notify()) is None
