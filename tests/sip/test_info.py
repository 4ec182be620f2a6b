from __future__ import annotations

import pytest

from vb.sip.info import info_digit


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"signal = #\nduration=160", "#"),
        ("Application/DTMF-Relay", b"Duration=100\r\nSignal= a\r\n", "A"),
        ("application/dtmf", b"7", "7"),
        ("application/dtmf", b" *\r\n", "*"),
        ("application/dtmf", b"11", "#"),
        ("application/dtmf", b"15", "D"),
        ("application/dtmf", b"16", None),
        ("application/dtmf-relay", b"Signal=55\r\n", None),
        ("application/dtmf-relay", b"", None),
        ("application/dtmf", b"\xff\xfe", None),
        ("application/sdp", b"Signal=5", None),
    ],
)
def test_the_digit_of_an_info_body(kind: str, body: bytes, digit: str | None) -> None:
    assert info_digit(kind, body) == digit
