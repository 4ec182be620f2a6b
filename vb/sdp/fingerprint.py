"""Fingerprints of certificates in descriptions.

Spec: RFC 8122 §5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

DIGESTS: Final = {
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
    known = DIGESTS.get(function)
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
    for function in DIGESTS:
        chosen = tuple(item for item in given if item.function == function)
        if chosen:
            return chosen
    return ()
