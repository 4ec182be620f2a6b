"""Whom a certificate speaks for.  Spec: RFC 5922 §7."""

from __future__ import annotations

import pytest

from vb.sip.tls_identity import names_host


@pytest.mark.parametrize(
    ("kind", "name", "host", "holds"),
    [
        ("DNS", "sip.example.com", "sip.example.com", True),
        ("DNS", "SIP.Example.com", "sip.example.COM.", True),
        ("DNS", "example.com", "sip.example.com", False),
        ("DNS", "*.example.com", "sip.example.com", False),
        ("URI", "sip:example.com", "example.com", True),
        ("URI", "sips:example.com", "example.com", True),
        ("URI", "sip:bob@example.com", "example.com", False),
        ("URI", "https://example.com", "example.com", False),
        ("URI", "sip:", "example.com", False),
        ("IP Address", "192.0.2.1", "192.0.2.1", True),
        ("IP Address", "192.0.2.1", "192.0.2.2", False),
        ("IP Address", "2001:DB8:0:0:0:0:0:1", "2001:db8::1", True),
        ("IP Address", "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]", True),
        ("email", "example.com", "example.com", False),
    ],
)
def test_names_are_those_of_the_alternative_subject(kind: str, name: str, host: str, holds: bool) -> None:
    assert names_host({"subjectAltName": ((kind, name),)}, host) is holds


def test_one_name_of_several_is_enough() -> None:
    names = (("DNS", "a.example"), ("DNS", "b.example"))
    assert names_host({"subjectAltName": names}, "b.example")


def test_the_common_name_counts_for_nothing() -> None:
    certificate = {"subject": ((("commonName", "sip.example.com"),),)}
    assert not names_host(certificate, "sip.example.com")


@pytest.mark.parametrize("certificate", [None, {}, {"subjectAltName": ()}])
def test_no_name_is_no_proof(certificate: dict[str, object] | None) -> None:
    assert not names_host(certificate, "sip.example.com")
