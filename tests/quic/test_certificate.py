"""Certificates that pages know by their hash, and those of files."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from vb.quic.certificate import CertificateError, make_identity, read_identity

TODAY = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)
IDENTITY = make_identity(TODAY, 5)
CERTIFICATE = IDENTITY.certificate.public_bytes(Encoding.PEM)
KEY = IDENTITY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_our_own_is_one_that_browsers_take_by_its_hash() -> None:
    certificate = IDENTITY.certificate
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lasts <= datetime.timedelta(days=14)
    assert certificate.not_valid_before_utc < TODAY < certificate.not_valid_after_utc
    assert certificate.version is x509.Version.v3
    assert len(certificate.extensions) > 0  # Chromium reads no other
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert IDENTITY.sha256 == hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def test_our_own_is_renewed_while_it_is_still_good() -> None:
    assert TODAY < IDENTITY.renew_at < IDENTITY.certificate.not_valid_after_utc


def test_files_hold_a_chain_and_its_key() -> None:
    vouching = make_identity(TODAY, 6).certificate
    identity = read_identity(CERTIFICATE + vouching.public_bytes(Encoding.PEM), KEY)
    assert identity.certificate == IDENTITY.certificate
    assert identity.chain == (vouching,)
    assert not identity.self_made


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"", KEY, "certificate is not PEM"),
        (CERTIFICATE, b"", "key is not PEM"),
        (CERTIFICATE, CERTIFICATE, "key is not PEM"),
        (make_identity(TODAY, 7).certificate.public_bytes(Encoding.PEM), KEY, "another certificate's"),
        (
            CERTIFICATE,
            IDENTITY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "encrypted",
        ),
        (
            CERTIFICATE,
            ed448.Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "no use for",
        ),
    ],
    ids=("no certificate", "no key", "twice the certificate", "of another", "encrypted", "of another kind"),
)
def test_what_cannot_be_used_is_said(certificate: bytes, key: bytes, problem: str) -> None:
    with pytest.raises(CertificateError, match=problem):
        read_identity(certificate, key)
