"""The certificate of this server's DTLS, and fingerprints of certificates.

Peers know a certificate by its fingerprint in the session description, so that it is signed by itself.

Spec: RFC 8122 §5, RFC 8827 §6.5.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

LIFETIME: Final = datetime.timedelta(days=365)

_CLOCK_SKEW: Final = datetime.timedelta(days=1)
_DIGESTS: Final = {
    "sha-512": "sha512",
    "sha-384": "sha384",
    "sha-256": "sha256",
    "sha-224": "sha224",
    "sha-1": "sha1",
}
"""Hash functions by their names in descriptions, the strongest first."""


class Fingerprint(NamedTuple):
    """The value of an `a=fingerprint` line: the name of a hash function, and the hash."""

    function: str
    digest: bytes

    def to_text(self) -> str:
        """Returns the value of the line."""
        return f"{self.function} {self.digest.hex(':').upper()}"


class FingerprintError(Exception):
    """The text is no fingerprint."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key; one serves all legs of a server."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
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


def parse_fingerprint(text: str) -> Fingerprint:
    """Reads the value of an `a=fingerprint` line; the hash function may be one that is unknown here.

    Raises:
        FingerprintError: it is none, or the hash has not the size of its function.
    """
    function, _, digits = text.strip().partition(" ")
    function = function.lower()
    try:
        digest = bytes.fromhex(digits.strip().replace(":", ""))
    except ValueError:
        raise FingerprintError("a fingerprint is not written in hexadecimal digits") from None
    known = _DIGESTS.get(function)
    if not digest or (
        known is not None and len(digest) != hashlib.new(known, usedforsecurity=False).digest_size
    ):
        raise FingerprintError(f"a fingerprint has a wrong length for {function[:16]!r}")
    return Fingerprint(function, digest)


def usable(fingerprints: Iterable[Fingerprint]) -> tuple[Fingerprint, ...]:
    """Returns those of the strongest hash function that is known here; one of them must match.

    Spec: RFC 8122 §5.
    """
    given = tuple(fingerprints)
    for function in _DIGESTS:
        chosen = tuple(item for item in given if item.function == function)
        if chosen:
            return chosen
    return ()


def matches(der: bytes, fingerprints: Iterable[Fingerprint]) -> bool:
    """Tells whether a certificate is the one that a description announced."""
    for item in usable(fingerprints):
        digest = hashlib.new(_DIGESTS[item.function], der, usedforsecurity=False).digest()
        if hmac.compare_digest(digest, item.digest):
            return True
    return False
