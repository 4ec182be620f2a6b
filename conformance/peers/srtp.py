"""SRTP of a peer: keys in a description (RFC 4568), and packets under them by libsrtp."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from pylibsrtp import Error, Policy, Session

CM_80 = "AES_CM_128_HMAC_SHA1_80"
CM_32 = "AES_CM_128_HMAC_SHA1_32"
GCM_128 = "AEAD_AES_128_GCM"
GCM_256 = "AEAD_AES_256_GCM"
SUITES = {
    CM_80: (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    CM_32: (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
    GCM_128: (28, Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
    GCM_256: (44, Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
}


@dataclass(frozen=True)
class Key:
    """A line with a key."""

    tag: int
    suite: str
    value: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """As it stands in a description."""
        return f"a=crypto:{self.tag} {self.suite} inline:{b64encode(self.value).decode()}"


def new_key(suite: str = CM_80, tag: int = 1) -> Key:
    """A new key."""
    return Key(tag, suite, secrets.token_bytes(SUITES[suite][0]))


def read_key(attribute: str) -> Key:
    """Reads what follows `a=`.

    Raises:
        ValueError: when it is no line with one key and nothing else.
    """
    name, _, value = attribute.partition(":")
    tag, suite, key = value.split(" ")
    method, _, text = key.partition(":")
    if (name, method) != ("crypto", "inline"):
        raise ValueError("no crypto attribute with a key")
    return Key(int(tag), suite, b64decode(text, validate=True))


class Protection:
    """Both directions of a stream."""

    def __init__(self, ours: Key, theirs: Key) -> None:
        profile = SUITES[ours.suite][1]
        self._out = Session(Policy(key=ours.value, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self._in = Session(Policy(key=theirs.value, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))

    def close(self, packet: bytes) -> bytes:
        """Protects an RTP packet."""
        return self._out.protect(packet)

    def open(self, data: bytes) -> bytes | None:
        """Takes the protection off an RTP or RTCP packet; None when it was not made with the key."""
        try:
            return self._in.unprotect_rtcp(data) if 192 <= data[1] <= 223 else self._in.unprotect(data)
        except Error:
            return None
