from __future__ import annotations

import pytest

from vb.sip.errors import HeaderRefused, SipTargetError
from vb.sip.identity import Identity, caller_identity, check_custom_headers
from vb.sip.target import dial_target


def identity(from_: str | None, privacy: str | None = None) -> Identity:
    return caller_identity(from_, privacy, host="vb.example", product="voiceblender")


@pytest.mark.parametrize(
    ("given", "from_", "asserted"),
    [
        (None, '"voiceblender" <sip:voiceblender@vb.example>', None),
        ("", '"voiceblender" <sip:voiceblender@vb.example>', None),
        ("alice", "<sip:alice@vb.example>", "<sip:alice@vb.example>"),
        ("+15551234", "<sip:+15551234@vb.example>", "<sip:+15551234@vb.example>"),
        ("tel:+15551234", "<tel:+15551234>", "<tel:+15551234>"),
        ("sip:Al@EXAMPLE.com:5070;user=phone", "<sip:Al@example.com>", "<sip:Al@example.com>"),
        ("al@example.com", "<sip:al@example.com>", "<sip:al@example.com>"),
        ('"Al Ice" <sip:al@example.com>', '"Al Ice" <sip:al@example.com>', "<sip:al@example.com>"),
        ("Al <alice>", None, None),
    ],
)
def test_forms_of_from(given: str | None, from_: str | None, asserted: str | None) -> None:
    if from_ is None:
        with pytest.raises(SipTargetError):
            identity(given)
        return
    assert identity(given) == Identity(from_, asserted, None)


@pytest.mark.parametrize("privacy", ["id", "user", "header", "ID;critical"])
def test_privacy_hides_the_caller_in_from_only(privacy: str) -> None:
    hidden = identity("alice", privacy)
    assert hidden.from_ == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert hidden.asserted == "<sip:alice@vb.example>"
    assert hidden.privacy == privacy


def test_privacy_none_changes_nothing() -> None:
    assert identity("alice", "none").from_ == "<sip:alice@vb.example>"


@pytest.mark.parametrize("bad", ["a b", "sip:", "sip:a b@c", "<sip:a@b", "x\r\nVia: y", "tel:x y", 'a"b'])
def test_a_from_that_cannot_be_used_is_refused(bad: str) -> None:
    with pytest.raises(SipTargetError, match="from"):
        identity(bad)


def test_half_a_surrogate_pair_in_from_is_refused() -> None:
    with pytest.raises(SipTargetError, match="from: is not valid text"):
        identity("a\ud800")


@pytest.mark.parametrize(
    "bad",
    [
        '"a\r\nX-Evil: 1" <sip:x@h.example>',
        '"a\nb" <sip:x@h.example>',
        "sip:x@h.example\r\nX: 1",
        '"\ud800" <sip:a@b>',
    ],
)
def test_a_target_that_would_break_its_line_is_refused(bad: str) -> None:
    with pytest.raises(SipTargetError, match=r"^to: "):
        dial_target(bad)


def test_a_privacy_that_cannot_be_used_is_refused() -> None:
    for privacy in ("id\r\nX: y", "id;\r\nuser", "id;\x0buser", "id;\u2028user", "id;" * 100 + "id"):
        with pytest.raises(SipTargetError, match="privacy"):
            identity(None, privacy)


def test_a_user_with_odd_characters_is_escaped() -> None:
    assert identity("müller#1").from_ == "<sip:m%C3%BCller%231@vb.example>"


@pytest.mark.parametrize(
    "name",
    [
        "Via",
        "v",
        "From",
        "f",
        "To",
        "t",
        "Call-ID",
        "i",
        "CSeq",
        "Max-Forwards",
        "Contact",
        "m",
        "Content-Length",
        "l",
        "Content-Type",
        "c",
        "Route",
        "Record-Route",
        "Require",
        "Supported",
        "k",
        "Allow",
        "Authorization",
        "Proxy-Authorization",
        "Session-Expires",
        "x",
        "Replaces",
    ],
)
def test_headers_of_dialog_and_transport_are_refused(name: str) -> None:
    for spelt in (name, name.upper()):
        with pytest.raises(HeaderRefused) as caught:
            check_custom_headers({"X-Ok": "1", spelt: "x"})
        assert caught.value.header == spelt
        assert spelt in caught.value.message


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"X Y": "z"},
        {"X-A:": "z"},
        {"X-Ä": "z"},
        {"X-Bad": "a\r\nX-Injected: yes"},
        {"X-Bad": "a\nb"},
        {"X-Bad": "a\x00"},
        {"X-Bad": "a\x85b"},
        {"X-Bad": "\ud800"},
        {"X-Long": "x" * 5000},
        {f"X-{n}": "x" for n in range(65)},
    ],
)
def test_names_and_values_that_break_a_message_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(HeaderRefused):
        check_custom_headers(headers)


def test_other_headers_are_fine() -> None:
    check_custom_headers(
        {"X-One": "1", "P-Two": "two", "Subject": "hi ü", "User-Agent": "mine", "X-Empty": ""}
    )


def test_headers_that_are_too_long_together_are_refused() -> None:
    name = "X-Long"
    check_custom_headers({name: "x" * 4096, "X-More": "y" * 4096})
    with pytest.raises(HeaderRefused, match="X-4' is beyond 16384 bytes of headers"):
        check_custom_headers({f"X-{number}": "é" * 2000 for number in range(8)})
    with pytest.raises(HeaderRefused, match="too long a name"):
        check_custom_headers({"X" * 129: "1"})
