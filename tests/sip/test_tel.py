from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.tel import at_gateway, tel_number
from vb.sip.uri import parse_uri


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("tel:+15550100", "+15550100"),
        ("TEL:+1-(555).0100", "+15550100"),
        ("tel:*21#;phone-context=+49", "*21#"),
        ("tel:863-1234;phone-context=example.com;isub=1", "8631234"),
        ("tel:7042;ext", "7042"),
        ("tel:*21%23", "*21#"),
        ("tel:%2B1555;isub=%23", "+1555"),
        ("tel:%3555", "555"),
        ("tel:*21%", None),
        ("tel:*21%2523", None),
        ("tel:*21%3B%23", None),
        ("tel:5%20", None),
        ("tel:", None),
        ("tel:+", None),
        ("tel:--", None),
        ("tel:+1a", None),
        ("tel:+1 555", None),
        ("tel:+1?x=y", None),
        ("tel:+1;", None),
        ("tel:+" + "1" * 300, None),
        ("sip:+1@b", None),
    ],
)
def test_the_number_of_a_tel_uri(uri: str, number: str | None) -> None:
    assert tel_number(uri) == number


def test_a_number_at_a_gateway_is_a_sip_uri() -> None:
    gateway = parse_uri("sip:gw.example:5070;transport=tcp;lr")
    assert str(at_gateway("+49#", gateway)) == "sip:+49%23@gw.example:5070;user=phone"


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_none(text: str) -> None:
    number = tel_number(text)
    assert number is None or "tel:" not in number
    assert tel_number("tel:+" + text) is None or text.isascii()
