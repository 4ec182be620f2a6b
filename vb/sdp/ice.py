"""ICE beside RTP as descriptions tell of it, where we only answer the peer's checks.

Only full agents are met with ICE, and only where RTP and RTCP share a port; every other peer gets an answer
without ICE, which it has to be ready for.

Spec: RFC 8839 §4 and §5, RFC 8445 §2.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from vb.sdp.address import Network, is_unspecified, literal
from vb.sdp.session import Attribute, MediaDescription, SessionDescription

LITE: Final = Attribute("ice-lite")
"""Said for the whole session."""
_MISMATCH: Final = Attribute("ice-mismatch")

# The grammar knows letters, digits, + and / only; some peers use more, and none can do harm with these.
UFRAG: Final = re.compile(r"[!-9;-~]{4,256}")
PASSWORD: Final = re.compile(r"[!-~]{22,256}")
_ADDRESS_AT: Final = 4
_ANY_NETWORK: Final = Network()


class Credentials(NamedTuple):
    """The user name fragment and the password of one side."""

    ufrag: str
    password: str


@dataclass(frozen=True, slots=True)
class PeerIce:
    """What an offered line says of ICE.

    Attributes:
        mismatch: somebody between us has changed its address, so that ICE cannot be used.
    """

    credentials: Credentials
    mismatch: bool = False


@dataclass(frozen=True, slots=True)
class LocalIce:
    """What a line of ours says of ICE; without credentials, that the peer's was of no use.

    Attributes:
        candidates: values of the lines.
    """

    credentials: Credentials | None = None
    candidates: tuple[str, ...] = ()

    def attributes(self) -> Iterator[Attribute]:
        """Yield the attributes of the line."""
        if self.credentials is None:
            yield _MISMATCH
            return
        yield Attribute("ice-ufrag", self.credentials.ufrag)
        yield Attribute("ice-pwd", self.credentials.password)
        for candidate in self.candidates:
            yield Attribute("candidate", candidate)


class IceAnswerer(Protocol):
    """The ICE agent of one stream."""

    def answer_ice(self, theirs: Credentials) -> LocalIce:
        """Take the peer's credentials and return what our line says; new ones are its restart."""
        ...


def read_ice(description: SessionDescription, media: MediaDescription) -> PeerIce | None:
    """Read what a line, or the session for it, says of ICE; None when there is none for us."""
    line, session = media.values, description.values
    if "ice-lite" in session or "rtcp-mux" not in line:
        return None
    ufrag = line.get("ice-ufrag") or session.get("ice-ufrag") or ""
    password = line.get("ice-pwd") or session.get("ice-pwd") or ""
    if not UFRAG.fullmatch(ufrag) or not PASSWORD.fullmatch(password):
        return None
    return PeerIce(Credentials(ufrag, password), _is_mismatch(description, media))


def _is_mismatch(description: SessionDescription, media: MediaDescription) -> bool:
    """Tell whether the address of a line is none of its candidates (RFC 8839 §4.2.5).

    An unspecified address stands for candidates that are still to come, and a name for one that is hidden.
    """
    connection = media.connection or description.connection
    candidates = [(item.value or "").split() for item in media.attributes if item.name == "candidate"]
    if connection is None or not candidates or is_unspecified(connection):
        return False
    host = _ANY_NETWORK.host(connection)
    if host is None:
        return False
    return not any(
        len(words) > _ADDRESS_AT + 1
        and words[_ADDRESS_AT + 1] == str(media.port)
        and str(literal(words[_ADDRESS_AT])) == host
        for words in candidates
    )
