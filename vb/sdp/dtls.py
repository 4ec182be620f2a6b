"""DTLS-SRTP in descriptions: certificates by their fingerprints, and who begins the handshake.

Spec: RFC 5763 §5, RFC 8842, RFC 4145 §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from vb.sdp.fingerprint import Fingerprint, FingerprintError, parse_fingerprint, usable
from vb.sdp.session import Attribute, MediaDescription, SessionDescription

Setup = Literal["actpass", "active", "passive"]
DtlsRole = Literal["client", "server"]

MAX_FINGERPRINTS: Final = 16


@dataclass(frozen=True, slots=True)
class DtlsLines:
    """What one side says.

    Attributes:
        tls_id: names the association; another one asks for a new one.
    """

    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    tls_id: str | None = None

    def attributes(self) -> Iterator[Attribute]:
        """Yield the attributes of a line of ours."""
        for fingerprint in self.fingerprints:
            yield Attribute("fingerprint", fingerprint.to_text())
        yield Attribute("setup", self.setup)


@dataclass(frozen=True, slots=True)
class DtlsKeys:
    """The association that both descriptions make together, whose handshake makes the keys.

    Attributes:
        fingerprints: of the peer's certificate.
        role: our part in the handshake.
        tls_id: the peer's name for it.
    """

    fingerprints: tuple[Fingerprint, ...]
    role: DtlsRole
    tls_id: str | None = None


def read_dtls(description: SessionDescription, media: MediaDescription) -> DtlsLines | None:
    """Read what a line, or the session for it, says; None when it cannot be used."""
    values = _values(description, media, "fingerprint")[:MAX_FINGERPRINTS]
    if not values:
        return None
    setups = _values(description, media, "setup")
    # Without the attribute the writer is the client (RFC 4145 §4).
    setup = setups[0].strip().lower() if setups else "active"
    try:
        fingerprints = tuple(parse_fingerprint(value) for value in values)
    except FingerprintError:
        return None
    if not usable(fingerprints) or setup not in get_args(Setup):
        return None
    names = _values(description, media, "tls-id")
    return DtlsLines(fingerprints, cast("Setup", setup), names[0] if names else None)


def names_dtls(description: SessionDescription, media: MediaDescription) -> bool:
    """Tell whether there is any fingerprint, usable or not."""
    return bool(_values(description, media, "fingerprint"))


def answer_role(offered: DtlsLines, before: DtlsKeys | None) -> DtlsRole:
    """Return our part where we answer.

    We leave the first message to the peer where we may: it then comes from the address that the peer really
    has, whatever NAT there is. A role lasts as long as the association.
    """
    match offered.setup:
        case "active":
            return "server"
        case "passive":
            return "client"
    if before is not None and set(before.fingerprints) & set(offered.fingerprints):
        return before.role
    return "server"


def _values(description: SessionDescription, media: MediaDescription, name: str) -> list[str]:
    """Return all values of an attribute at the line, else at the session."""
    for attributes in (media.attributes, description.attributes):
        found = [attribute.value or "" for attribute in attributes if attribute.name == name]
        if found:
            return found
    return []
