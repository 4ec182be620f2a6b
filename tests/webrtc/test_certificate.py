import datetime
import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from vb.sdp.fingerprint import Fingerprint, FingerprintError, parse_fingerprint, usable
from vb.webrtc.certificate import make_identity, matches

TODAY = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)


def test_an_identity_is_ecdsa_and_known_by_its_fingerprint() -> None:
    identity = make_identity(TODAY, 4711)
    der = identity.certificate.public_bytes(Encoding.DER)
    assert len(der) < 400
    assert identity.fingerprint.digest == hashlib.sha256(der).digest()
    assert identity.certificate.not_valid_before_utc < TODAY < identity.certificate.not_valid_after_utc
    assert parse_fingerprint(identity.fingerprint.to_text()) == identity.fingerprint
    assert matches(der, [identity.fingerprint])
    assert not matches(der + b"x", [identity.fingerprint])


@pytest.mark.parametrize("function", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_every_usual_hash_function_is_checked(function: str) -> None:
    digest = hashlib.new(function, b"certificate").digest().hex(":")
    name = function.replace("sha", "SHA-")
    assert matches(b"certificate", [parse_fingerprint(f"{name} {digest}")])
    assert not matches(b"another", [parse_fingerprint(f"{name} {digest}")])


def test_the_strongest_function_counts_and_any_of_its_hashes() -> None:
    weak = Fingerprint("sha-1", hashlib.sha1(b"certificate").digest())
    wrong = Fingerprint("sha-256", bytes(32))
    right = Fingerprint("sha-256", hashlib.sha256(b"certificate").digest())
    assert not matches(b"certificate", [weak, wrong])
    assert matches(b"certificate", [weak, wrong, right])
    assert usable([weak, Fingerprint("md5", bytes(16))]) == (weak,)
    assert not matches(b"certificate", [Fingerprint("md5", hashlib.md5(b"certificate").digest())])
    assert not matches(b"certificate", [])


@pytest.mark.parametrize("text", ["", "sha-256", "sha-256 zz", "sha-256 AA:BB", "sha-1 " + "00" * 32])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(FingerprintError):
        parse_fingerprint(text)
