"""The certificate of a listener: one that others have signed, or one of our own that pages know by its hash.

Browsers take a certificate that nobody has signed when a page names its hash, and it is one on P-256 of 14
days at most.

Spec: W3C WebTransport, "custom certificate requirements".
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from vb.self_signed import make_certificate

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

LIFETIME: Final = datetime.timedelta(days=13)
"""A day less than browsers allow: clocks differ, and they count the time before now too."""
RENEW_BEFORE: Final = datetime.timedelta(days=3)
"""A page that knows the hash has so long to be loaded again."""
_CLOCK_SKEW: Final = datetime.timedelta(hours=1)


class CertificateError(ValueError):
    """Certificate and key that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with what proves that it is ours.

    Attributes:
        certificate: ours.
        chain: those that vouch for it, the nearest first.
        key: its key.
        self_made: whether pages have to know its hash.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: Key
    self_made: bool

    @property
    def sha256(self) -> bytes:
        """The hash by which pages know it, of its DER form."""
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()

    @property
    def renew_at(self) -> datetime.datetime:
        """When another one should take its place, with a time zone."""
        return self.certificate.not_valid_after_utc - RENEW_BEFORE


def make_identity(today: datetime.datetime, serial_number: int) -> Identity:
    """Return a certificate of our own.

    Args:
        today: with a time zone.
        serial_number: random, positive, below 2**159.
    """
    certificate, key = make_certificate(today, serial_number, before=_CLOCK_SKEW, after=LIFETIME)
    return Identity(certificate, (), key, self_made=True)


def read_identity(certificates: bytes, key: bytes) -> Identity:
    """Return what two PEM files hold.

    Raises:
        CertificateError: they cannot be used together.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise CertificateError("the certificate is not PEM") from None
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise CertificateError("the key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("the key is not PEM") from None
    if not isinstance(private, Key):
        raise CertificateError("the key is of a kind that QUIC has no use for")
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        fits = chain[0].public_key().public_bytes(*form) == private.public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        fits = False
    if not fits:
        raise CertificateError("the key is another certificate's")
    return Identity(chain[0], tuple(chain[1:]), private, self_made=False)
