"""The certificate of this server's DTLS, and what a fingerprint says of one.

Peers know a certificate by its fingerprint in the session description, so that it is signed by itself.

Spec: RFC 8122 §5, RFC 8827 §6.5.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from vb.sdp.fingerprint import DIGESTS, Fingerprint, usable

LIFETIME: Final = datetime.timedelta(days=365)

_CLOCK_SKEW: Final = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key; one serves all legs of a server."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What our descriptions say of the certificate."""
        der = self.certificate.public_bytes(Encoding.DER)
        return Fingerprint("sha-256", hashlib.sha256(der).digest())


def make_identity(today: datetime.datetime, serial_number: int) -> Identity:
    """Returns a new identity: ECDSA on P-256, valid for a year.

    The key comes from the cryptography library's own source of randomness.

    Args:
        today: with a time zone.
        serial_number: random, positive, below 2**159.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vb")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(today - _CLOCK_SKEW)
        .not_valid_after(today + LIFETIME)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, key)


def matches(der: bytes, fingerprints: Iterable[Fingerprint]) -> bool:
    """Tells whether a certificate is the one that a description announced."""
    for item in usable(fingerprints):
        digest = hashlib.new(DIGESTS[item.function], der, usedforsecurity=False).digest()
        if hmac.compare_digest(digest, item.digest):
            return True
    return False
