"""How the audio of a session is protected: what our descriptions say of it, and what comes of the peer's.

`required` offers the secure transport. `preferred` offers the plain one with keys beside it, which a peer
that knows SRTP takes up and any other ignores; no second media line, so that nothing has to be refused. What
a peer offers is answered in its own way, whatever the policy; `required` takes nothing that is plain.

Keys last as long as the peer's do: whoever offers new ones may be somebody else, who knows nothing of the
packets so far, and gets a new one of ours. An offer of ours repeats our key.

Spec: RFC 4568 §5 to §7, RFC 8643 §3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vb.choices import SrtpPolicy
from vb.sdp.crypto import OFFERED_SUITES, CryptoLine, SdesKeys, crypto_lines, matching_lines, names_crypto
from vb.sdp.errors import AnswerRejected
from vb.sdp.session import MediaDescription
from vb.sdp.stream import PLAIN_PROFILES, SDES_PROFILES

RTP_AVP: Final = "RTP/AVP"
RTP_SAVP: Final = "RTP/SAVP"

NewKey = Callable[[int], bytes]
"""Draws a random key of so many bytes."""


class Keying:
    """The protection of one session, whose keys are drawn when they are first needed.

    Args:
        policy: what we offer, and whether plain audio will do.
        new_key: source of keys.
    """

    def __init__(self, policy: SrtpPolicy, new_key: NewKey) -> None:
        self.policy = policy
        self._new_key = new_key
        self._first: tuple[CryptoLine, ...] = ()

    @property
    def protocol(self) -> str:
        """Transport of the audio line of our first offer."""
        return RTP_SAVP if self.policy == "required" else RTP_AVP

    def first_offer(self) -> tuple[CryptoLine, ...]:
        """Return the keys of our first offer; those of one that was made before, so that forks share it."""
        if not self._first and self.policy != "off":
            self._first = tuple(
                CryptoLine(tag, suite, self._new_key(suite.size_bytes))
                for tag, suite in enumerate(OFFERED_SUITES, 1)
            )
        return self._first

    def answer(self, theirs: CryptoLine, before: SdesKeys | None) -> tuple[CryptoLine, SdesKeys]:
        """Return our line that accepts the one of an offer, and what the two make together.

        Args:
            theirs: the line that we take.
            before: the keys in force.
        """
        if before is not None and (before.suite, before.receive) == (theirs.suite, theirs.key):
            key = before.send
        else:
            key = self._new_key(theirs.suite.size_bytes)
        return CryptoLine(theirs.tag, theirs.suite, key), SdesKeys(theirs.suite, key, theirs.key)


def takes(media: MediaDescription, keying: Keying | None) -> bool:
    """Tell whether the transport of an offered line is one that we answer, with the keys that it brings."""
    protocol = media.protocol.upper()
    if keying is None:
        return protocol in PLAIN_PROFILES
    if protocol in SDES_PROFILES or (protocol in PLAIN_PROFILES and keying.policy == "required"):
        return bool(crypto_lines(media))
    return protocol in PLAIN_PROFILES


def has_broken_keys(media: MediaDescription) -> bool:
    """Tell whether a line brings keys of which none can be used."""
    return names_crypto(media) and not crypto_lines(media)


def offered_key(media: MediaDescription, keying: Keying | None) -> CryptoLine | None:
    """Return the line of an offer to accept, the first one that can be; None when there is none for us."""
    if keying is None:
        return None
    return next(iter(crypto_lines(media)), None)


def answered_keys(
    media: MediaDescription, offered: str, ours: Sequence[CryptoLine], keying: Keying | None
) -> SdesKeys | None:
    """Return what an answer makes of our keys; None when the audio is plain.

    Args:
        media: the audio line of the answer.
        offered: the transport that we offered.
        ours: the keys that we offered.
        keying: how the audio may be protected.

    Raises:
        AnswerRejected: another transport than ours, or keys that do not fit ours.
    """
    secure = offered.upper() in SDES_PROFILES
    if media.protocol.upper() not in (SDES_PROFILES if secure else PLAIN_PROFILES):
        raise AnswerRejected("the answer has another medium or transport in place of our audio")
    may_be_plain = not secure and (keying is None or keying.policy != "required")
    if may_be_plain and not (ours and names_crypto(media)):
        return None
    found = matching_lines(crypto_lines(media), ours)
    if found is None:
        raise AnswerRejected("the answer has no key for our audio")
    theirs, own = found
    return SdesKeys(own.suite, own.key, theirs.key)
