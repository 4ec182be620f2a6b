"""SRTP on a SIP leg: the keys of what was agreed, in force next to its socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from vb.choices import SrtpPolicy
from vb.ids import IdSource
from vb.metrics import Reading
from vb.mixer.port import RtpPort
from vb.mixer.srtp_transform import SrtpTransform
from vb.sdp.crypto import SdesKeys, Suite
from vb.sdp.keying import Keying
from vb.webrtc.dtls import SrtpKeys, SrtpProfile
from vb.webrtc.srtp import Srtp

_PROFILES: Final = {
    Suite.AEAD_AES_128_GCM: SrtpProfile.AEAD_AES_128_GCM,
    Suite.AEAD_AES_256_GCM: SrtpProfile.AEAD_AES_256_GCM,
    Suite.AES_CM_128_HMAC_SHA1_80: SrtpProfile.AES128_CM_SHA1_80,
    Suite.AES_CM_128_HMAC_SHA1_32: SrtpProfile.AES128_CM_SHA1_32,
}
_TRANSPORTS: Final = ("udp", "tcp", "tls")


def new_keying(policy: SrtpPolicy, ids: IdSource) -> Keying:
    """Return how the audio of one more session may be protected."""
    return Keying(policy, lambda size_bytes: bytes.fromhex(ids.token(size_bytes)))


class SrtpFigures:
    """Counts what the SIP legs of a server have of SRTP."""

    def __init__(self) -> None:
        self._sdes = Counter(dict.fromkeys(_TRANSPORTS, 0))

    def keyed(self, transport: str) -> None:
        """Count a leg whose keys came in session descriptions, over this transport of SIP."""
        self._sdes[transport] += 1

    def readings(self) -> Iterator[Reading]:
        """Give the figures for the metrics."""
        text = "Calls whose SRTP keys stood in session descriptions, by the transport that others may read"
        for transport, count in self._sdes.items():
            yield "sip_sdes", text, count, {"transport": transport}


class LegSrtp:
    """The SRTP of one leg.

    Args:
        port: whose packets are protected.
        figures: of all legs.
    """

    def __init__(self, port: RtpPort, figures: SrtpFigures) -> None:
        self._port = port
        self._figures = figures
        self._srtp: Srtp | None = None
        self._counted = False

    def follow(self, keys: SdesKeys | None, transport: str) -> None:
        """Protect from now on with what was agreed; before the port follows the rest of it.

        Args:
            keys: None for plain audio.
            transport: of the signalling that brought them.
        """
        if keys is None:
            if self._srtp is not None:
                self._srtp = self._port.transform = None
            return
        if not self._counted:
            self._counted = True
            self._figures.keyed(transport)
        taken = SrtpKeys(_PROFILES[keys.suite], send=keys.send, receive=keys.receive)
        if self._srtp is not None:
            self._srtp.rekey(taken)
            return
        self._srtp = Srtp(taken)
        self._port.transform = SrtpTransform(self._srtp)
