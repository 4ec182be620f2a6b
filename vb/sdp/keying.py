"""How a stream of a session is protected: what our descriptions say of it, and what comes of the peer's.

`required` offers a secure transport. `preferred` offers the plain one with keys beside it, which a peer
that knows SRTP takes up and any other ignores; no second media line, so that nothing has to be refused. What
a peer offers is answered in its own way, whatever the policy; `required` takes nothing that is plain. Where a
plain line brings both kinds of keys, those of a handshake are taken: nobody on the way can read them.

Keys in descriptions last as long as the peer's do: whoever offers new ones may be somebody else, who knows
nothing of the packets so far, and gets a new one of ours. An offer of ours repeats our key.

Spec: RFC 4568 §5 to §7, RFC 5763 §5, RFC 8643 §3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vb.choices import SrtpKeying, SrtpPolicy
from vb.sdp.crypto import OFFERED_SUITES, CryptoLine, SdesKeys, crypto_lines, matching_lines, names_crypto
from vb.sdp.dtls import DtlsKeys, DtlsLines, answer_role, names_dtls, read_dtls
from vb.sdp.errors import AnswerRejected
from vb.sdp.fingerprint import Fingerprint
from vb.sdp.ice import IceAnswerer, LocalIce, PeerIce
from vb.sdp.session import Attribute, MediaDescription, SessionDescription
from vb.sdp.stream import DTLS_PROFILES, PLAIN_PROFILES, SDES_PROFILES

RTP_AVP: Final = "RTP/AVP"
RTP_SAVP: Final = "RTP/SAVP"
DTLS_SAVP: Final = "UDP/TLS/RTP/SAVP"

NewKey = Callable[[int], bytes]
"""Draws a random key of so many bytes."""

Keys = SdesKeys | DtlsKeys
"""What both sides make together: keys, or the association that makes them."""
OfferedKeys = CryptoLine | DtlsLines
"""What we take of an offer."""


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """What a line of ours says.

    Attributes:
        crypto: keys that we send with, one of which the peer is to accept.
        dtls: our certificate, and our part in the handshake.
    """

    crypto: tuple[CryptoLine, ...] = ()
    dtls: DtlsLines | None = None

    def __bool__(self) -> bool:
        return bool(self.crypto) or self.dtls is not None

    def attributes(self) -> Iterator[Attribute]:
        """Yield the attributes of the line."""
        for line in self.crypto:
            yield line.attribute()
        if self.dtls is not None:
            yield from self.dtls.attributes()


NO_KEYS: Final = LocalKeys()


class Keying:
    """The protection of one stream, whose keys are drawn when they are first needed.

    Args:
        policy: what we offer, and whether plain audio will do.
        new_key: source of keys.
        fingerprint: of our certificate; without it there is no DTLS.
        offers: which kind of keys we offer.

    Attributes:
        ice: the stream's agent, once there is a stream.
    """

    def __init__(
        self,
        policy: SrtpPolicy,
        new_key: NewKey,
        *,
        fingerprint: Fingerprint | None = None,
        offers: SrtpKeying = "sdes",
    ) -> None:
        self.policy = policy
        self.ice: IceAnswerer | None = None
        self._new_key = new_key
        self._fingerprint = fingerprint
        self._offers = offers if fingerprint is not None else "sdes"
        self._first = NO_KEYS

    def twin(self) -> Keying:
        """Return the protection of another stream of the session, which has keys of its own."""
        return Keying(self.policy, self._new_key, fingerprint=self._fingerprint, offers=self._offers)

    @property
    def protocol(self) -> str:
        """Transport of the line of our first offer."""
        if self.policy != "required":
            return RTP_AVP
        return DTLS_SAVP if self._offers == "dtls" else RTP_SAVP

    @property
    def takes_dtls(self) -> bool:
        """Whether there is a certificate."""
        return self._fingerprint is not None

    def first_offer(self) -> LocalKeys:
        """Return the keys of our first offer; those of one that was made before, so that forks share it."""
        if not self._first and self.policy != "off":
            if self._offers == "dtls":
                self._first = LocalKeys(dtls=self._dtls_offer())
            else:
                self._first = LocalKeys(
                    tuple(
                        CryptoLine(tag, suite, self._new_key(suite.size_bytes))
                        for tag, suite in enumerate(OFFERED_SUITES, 1)
                    )
                )
        return self._first

    def later_offer(self, keys: Keys | None, local: LocalKeys) -> LocalKeys:
        """Return the keys of an offer in a session.

        Args:
            keys: those in force.
            local: how our description says them.
        """
        # A later offer leaves the roles open, and the answer repeats them (RFC 8842 §5.5).
        return LocalKeys(dtls=self._dtls_offer()) if isinstance(keys, DtlsKeys) else local

    def answer(self, theirs: OfferedKeys, before: Keys | None) -> tuple[LocalKeys, Keys]:
        """Return what our line says to keys of an offer, and what the two make together.

        Args:
            theirs: what we take.
            before: the keys in force.
        """
        if isinstance(theirs, DtlsLines):
            role = answer_role(theirs, before if isinstance(before, DtlsKeys) else None)
            ours = DtlsLines(self._fingerprints, "active" if role == "client" else "passive")
            return LocalKeys(dtls=ours), DtlsKeys(theirs.fingerprints, role, theirs.tls_id)
        same = isinstance(before, SdesKeys) and (before.suite, before.receive) == (theirs.suite, theirs.key)
        key = before.send if isinstance(before, SdesKeys) and same else self._new_key(theirs.suite.size_bytes)
        line = CryptoLine(theirs.tag, theirs.suite, key)
        return LocalKeys((line,)), SdesKeys(theirs.suite, key, theirs.key)

    def answer_ice(self, theirs: PeerIce) -> LocalIce | None:
        """Return what our line says to a peer with ICE; None to go on without it."""
        if self.ice is None:
            return None
        return LocalIce() if theirs.mismatch else self.ice.answer_ice(theirs.credentials)

    @property
    def _fingerprints(self) -> tuple[Fingerprint, ...]:
        return () if self._fingerprint is None else (self._fingerprint,)

    def _dtls_offer(self) -> DtlsLines:
        return DtlsLines(self._fingerprints, "actpass")


def takes(description: SessionDescription, media: MediaDescription, keying: Keying | None) -> bool:
    """Tell whether the transport of an offered line is one that we answer, with the keys that it brings."""
    protocol = media.protocol.upper()
    if keying is None:
        return protocol in PLAIN_PROFILES
    if protocol in PLAIN_PROFILES and keying.policy != "required":
        return True
    return offered_keys(description, media, keying) is not None


def has_broken_keys(description: SessionDescription, media: MediaDescription) -> bool:
    """Tell whether a line brings keys of which none can be used."""
    if media.protocol.upper() in DTLS_PROFILES:
        return names_dtls(description, media) and read_dtls(description, media) is None
    return names_crypto(media) and not crypto_lines(media)


def offered_keys(
    description: SessionDescription, media: MediaDescription, keying: Keying | None
) -> OfferedKeys | None:
    """Return the keys of an offered line to accept; None when there are none for us."""
    if keying is None:
        return None
    line = media.values
    if "crypto" not in line and "fingerprint" not in line and "fingerprint" not in description.values:
        return None
    protocol = media.protocol.upper()
    dtls = read_dtls(description, media) if keying.takes_dtls else None
    if protocol in DTLS_PROFILES:
        return dtls
    crypto = next(iter(crypto_lines(media)), None)
    if protocol in SDES_PROFILES:
        return crypto or dtls
    return (dtls or crypto) if protocol in PLAIN_PROFILES else None


def answered_keys(
    description: SessionDescription,
    media: MediaDescription,
    offered: str,
    ours: LocalKeys,
    keying: Keying | None,
) -> Keys | None:
    """Return what an answer makes of our keys; None when the stream is plain.

    Args:
        description: the answer.
        media: its line for the stream.
        offered: the transport that we offered.
        ours: the keys that we offered.
        keying: how the stream may be protected.

    Raises:
        AnswerRejected: another transport than ours, or keys that do not fit ours.
    """
    family = _family(offered)
    if media.protocol.upper() not in family:
        raise AnswerRejected("the answer has another medium or transport in place of our audio")
    if family is PLAIN_PROFILES and (keying is None or keying.policy != "required"):
        named = names_dtls(description, media) if ours.dtls is not None else names_crypto(media)
        if not (ours and named):
            return None
    return _dtls_answer(description, media) if ours.dtls is not None else _sdes_answer(media, ours.crypto)


def kept_keys(ours: LocalKeys, keys: Keys | None) -> LocalKeys:
    """Return what is left of the keys of our offer after its answer."""
    if isinstance(keys, SdesKeys):
        return LocalKeys(tuple(line for line in ours.crypto if line.key == keys.send))
    return NO_KEYS if keys is None else ours


def _family(protocol: str) -> frozenset[str]:
    """Return all transports that may answer one."""
    families = (SDES_PROFILES, DTLS_PROFILES)
    return next((family for family in families if protocol.upper() in family), PLAIN_PROFILES)


def _sdes_answer(media: MediaDescription, ours: Sequence[CryptoLine]) -> SdesKeys:
    found = matching_lines(crypto_lines(media), ours)
    if found is None:
        raise AnswerRejected("the answer has no key for our audio")
    theirs, own = found
    return SdesKeys(own.suite, own.key, theirs.key)


def _dtls_answer(description: SessionDescription, media: MediaDescription) -> DtlsKeys:
    theirs = read_dtls(description, media)
    if theirs is None:
        raise AnswerRejected("the answer has no certificate for our audio")
    if theirs.setup == "actpass":
        raise AnswerRejected("the answer leaves a=setup open")
    return DtlsKeys(theirs.fingerprints, "server" if theirs.setup == "active" else "client", theirs.tls_id)
