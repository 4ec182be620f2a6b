"""Certificates that nobody but we have signed: peers know them by their hash."""

from __future__ import annotations

import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

SERIAL_BITS: Final = 158
"""Random bits of a serial number, to which one is added: it is positive, and with its sign no longer than
20 octets (RFC 5280 §4.1.2.2)."""


def make_certificate(
    today: datetime.datetime, serial_number: int, *, before: datetime.timedelta, after: datetime.timedelta
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a new certificate, ECDSA on P-256, with its key.

    The key comes from the cryptography library's own source of randomness.

    Args:
        today: with a time zone.
        serial_number: random, positive, below 2**159.
        before: so long it has been valid already, for peers whose clocks are behind.
        after: so long it will be valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vb")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(today - before)
        .not_valid_after(today + after)
        # Chromium reads no certificate that has no extension at all.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("vb")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key
