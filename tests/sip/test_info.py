from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.info import RELAY_TYPE, InfoDigit, read_digit, relay_body

RELAY, DTMF, NORTEL = "application/dtmf-relay", "application/dtmf", "application/vnd.nortelnetworks.digits"


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        (RELAY, b"Signal=5\r\nDuration=160\r\n", "5"),
        (RELAY, b"signal = #\nduration=160", "#"),
        ("Application/DTMF-Relay", b"Duration=100\r\nSignal= a\r\n", "A"),
        (RELAY, b"Signal=10\r\nDuration=160\r\n", "*"),
        (RELAY, b"Signal= 11\r\nDuration= 160\r\n", "#"),
        (RELAY, b"Signal=12\r\nDuration=160", "A"),
        (RELAY, b"Signal=15", "D"),
        (RELAY, b"Signal=05", "5"),
        (RELAY, b"Signal=*;\r\n", "*"),
        (RELAY, b'Signal="7"\r\n', "7"),
        (RELAY, b"Signal: 7\r\n", "7"),
        (RELAY, b"Duration=160\rSignal=7\r", "7"),
        (RELAY, b"Signal=1;Duration=160", "1"),
        (RELAY, b"Signal=2, Duration=160", "2"),
        (RELAY, b"Signal=4\0", "4"),
        (RELAY, b"9", "9"),
        (DTMF, b"5\0", "5"),
        (DTMF, b"7", "7"),
        (DTMF, b" *\r\n", "*"),
        (DTMF, b"d", "D"),
        (DTMF, b"11", "#"),
        (DTMF, b"15", "D"),
        (DTMF, b"Signal=3\r\nDuration=100\r\n", "3"),
        (NORTEL, b"p=Digit-Collection\r\ny=Digits\r\nd=Digits=8\r\n", "8"),
        (NORTEL, b"d=8\r\n", "8"),
        (DTMF, b"16", None),
        (RELAY, b"Signal=16\r\n", None),
        (RELAY, b"Signal=!\r\n", None),
        (RELAY, b"Signal=55\r\n", None),
        (RELAY, b"Signal=5x\r\n", None),
        (RELAY, b"Signal=5-\r\n", None),
        (RELAY, b"Signal=123\r\n", None),
        (RELAY, b"Signal=\r\n5\r\n", None),
        (RELAY, b"", None),
        (DTMF, b"\xff\xfe", None),
        (DTMF, "\N{ARABIC-INDIC DIGIT FIVE}".encode(), None),
        (RELAY, b"Signal=5\r\n" + b" " * 2000, None),
        ("application/sdp", b"Signal=5", None),
    ],
)
def test_the_digit_of_an_info_body(kind: str, body: bytes, digit: str | None) -> None:
    found = read_digit(kind, body)
    assert (found.digit if found is not None else None) == digit


def test_the_duration_of_a_press_is_read_where_it_is_said() -> None:
    assert read_digit(RELAY, b"Signal=5\r\nDuration= 2500\r\n") == InfoDigit("5", 2500)
    assert read_digit(RELAY, b"Signal=5;Duration=2500") == InfoDigit("5", 2500)
    assert read_digit(RELAY, b"Signal=5\rDuration=2500\r") == InfoDigit("5", 2500)
    assert read_digit(DTMF, b"5") == InfoDigit("5", 0)


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_what_is_written_is_read_again(digit: str) -> None:
    found = read_digit(RELAY_TYPE, relay_body(digit))
    assert found is not None
    assert found.digit == digit


@given(st.sampled_from([RELAY, DTMF, NORTEL]), st.binary(max_size=200))
def test_any_body_is_a_digit_or_none(kind: str, body: bytes) -> None:
    found = read_digit(kind, body)
    assert found is None or found.digit in "0123456789*#ABCD"
