"""SRTP and ICE of one stream of a SIP leg: what was agreed, in force next to its socket.

Keys of descriptions are in force at once. Those of a handshake, and an address that ICE is to find, take a
moment; until then nothing leaves the stream and nothing is heard on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, Protocol

import trio

from vb.choices import SrtpKeying, SrtpPolicy
from vb.ids import IdSource
from vb.log import StrangersLog
from vb.metrics import Reading
from vb.mixer.packets import PortPackets
from vb.sdp.crypto import SdesKeys, Suite
from vb.sdp.dtls import DtlsKeys
from vb.sdp.ice import Credentials, LocalIce
from vb.sdp.keying import Keying, Keys
from vb.sdp.stream import MediaAddress
from vb.webrtc.candidate import local_candidate
from vb.webrtc.dtls import DtlsContext, SrtpKeys, SrtpProfile
from vb.webrtc.srtp import Srtp
from vb.webrtc.stream_transport import Broken, Found, Keyed, StreamEvent, StreamTransport
from vb.webrtc.stun import Address
from vb.webrtc.tasks import Transport

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs

strangers = StrangersLog(__name__)

_PROFILES: Final = {
    Suite.AEAD_AES_128_GCM: SrtpProfile.AEAD_AES_128_GCM,
    Suite.AEAD_AES_256_GCM: SrtpProfile.AEAD_AES_256_GCM,
    Suite.AES_CM_128_HMAC_SHA1_80: SrtpProfile.AES128_CM_SHA1_80,
    Suite.AES_CM_128_HMAC_SHA1_32: SrtpProfile.AES128_CM_SHA1_32,
}
_TRANSPORTS: Final = ("udp", "tcp", "tls")
_REASONS: Final = {
    "no_connection": "ice_failure",
    "consent_lost": "ice_failure",
    "dtls_failed": "connect_failed",
}


def new_keying(sip: SipLegs, policy: SrtpPolicy | None = None, offers: SrtpKeying | None = None) -> Keying:
    """Return how the audio of one more session may be protected.

    Args:
        sip: the kind.
        policy: whether it is to be; None as the server is set.
        offers: which kind of keys our offers bring; None as the server is set.
    """
    engine, config = sip.engine, sip.engine.config.sip
    return Keying(
        policy or config.srtp,
        lambda size_bytes: bytes.fromhex(engine.ids.token(size_bytes)),
        fingerprint=engine.dtls.identity.fingerprint,
        offers=offers or config.srtp_keying,
    )


class SrtpFigures:
    """Counts what the SIP legs of a server have of SRTP and ICE."""

    def __init__(self) -> None:
        self._sdes = Counter(dict.fromkeys(_TRANSPORTS, 0))
        self._dtls = 0
        self._ice = 0
        self._dropped: Counter[str] = Counter()

    def keyed(self, keys: Keys, transport: str) -> None:
        """Count a stream by how its keys are agreed on, over this transport of SIP."""
        if isinstance(keys, DtlsKeys):
            self._dtls += 1
        else:
            self._sdes[transport] += 1

    def met_by_ice(self) -> None:
        """Count a stream whose peer is found by ICE."""
        self._ice += 1

    def dropped(self, stun: int, transport: int) -> None:
        """Count what came beside the media of a stream and was not its peer's."""
        self._dropped.update(stun=stun, transport=transport)

    def readings(self) -> Iterator[Reading]:
        """Give the figures for the metrics."""
        text = "Calls whose SRTP keys stood in session descriptions, by the transport that others may read"
        for transport, count in self._sdes.items():
            yield "sip_sdes", text, count, {"transport": transport}
        yield "sip_dtls", "Streams of SIP calls whose SRTP keys were to be made by DTLS", self._dtls, {}
        yield "sip_ice", "Streams of SIP calls whose far ends were to be found by ICE", self._ice, {}
        text = "STUN and DTLS of SIP calls that was not the far end's"
        for reason in ("stun", "transport"):
            yield "sip_media_dropped", text, self._dropped[reason], {"reason": reason}


class SecuredStream(Protocol):
    """An RTP stream as its protection sees it."""

    @property
    def packets(self) -> PortPackets:
        """Return what comes beside its media."""
        ...

    def send(self, data: bytes, destination: Address) -> None:
        """Send something that is no media from its socket."""
        ...

    def protect(self, srtp: Srtp | Literal["shut"] | None) -> None:
        """Protect its packets from now on; let none through while it is shut."""
        ...

    def secured(self) -> None:
        """Go on: keys or the far end's address have come."""
        ...


class StreamSecurity:
    """The protection of one stream, which is its ICE agent too; see `IceAnswerer`.

    Args:
        stream: what is protected.
        address: where the far end reaches its socket.
        context: the server's certificate.
        ids: source of credentials.
        figures: of all legs.

    Attributes:
        on_broken: told the reason for which the leg cannot go on.
    """

    def __init__(
        self,
        stream: SecuredStream,
        address: Address,
        context: DtlsContext,
        ids: IdSource,
        figures: SrtpFigures,
    ) -> None:
        self.on_broken: Callable[[str], object] = _ignore
        self._stream = stream
        self._address = address
        self._context = context
        self._ids = ids
        self._figures = figures
        self._keys: Keys | None = None
        self._srtp: Srtp | None = None
        self._has_ice = False
        self._has_keys = False
        self._found: Address | None = None
        self._core: StreamTransport | None = None
        self._driver: Transport[StreamEvent] | None = None
        self._needed: trio.Event | None = None
        self._counted = ""  # what has been counted: keys, ICE

    @property
    def keying(self) -> SrtpKeying | None:
        """How the keys are agreed on, None for a plain stream."""
        if self._keys is None:
            return None
        return "dtls" if isinstance(self._keys, DtlsKeys) else "sdes"

    @property
    def needed(self) -> bool:
        """Whether there is something for `run` to do."""
        return self._driver is not None

    @property
    def ready(self) -> bool:
        """Whether media may flow."""
        keyed = not isinstance(self._keys, DtlsKeys) or self._has_keys
        return keyed and not (self._has_ice and self._found is None)

    @property
    def remote(self) -> MediaAddress | None:
        """Where the far end has proved to be, None where its description is believed."""
        proves = self._has_ice or isinstance(self._keys, DtlsKeys)
        return MediaAddress(*self._found) if proves and self._found is not None else None

    def answer_ice(self, theirs: Credentials) -> LocalIce:
        """Take the far end's credentials and return what our line says."""
        core = self._open()
        candidate = local_candidate("host", self._address)
        credentials = core.answer_ice(theirs, candidate, trio.current_time())
        return LocalIce(credentials, (candidate.to_text(),))

    def expect(self) -> None:
        """Keep the first messages of a handshake: they may come before the answer to our offer."""
        self._open()

    def follow(
        self, keys: Keys | None, ice: Credentials | None, remote: MediaAddress | None, transport: str
    ) -> None:
        """Protect from now on with what was agreed; before the stream follows the rest of it.

        Args:
            keys: None for a plain stream.
            ice: the far end's credentials, None without ICE.
            remote: where it says that it is.
            transport: of the signalling.
        """
        if keys is not None or ice is not None:
            self._count(keys, ice, transport)
        before, self._keys = self._keys, keys
        if self._has_ice != (ice is not None):
            self._has_ice, self._found = ice is not None, None
        if isinstance(keys, SdesKeys):
            self._secure(SrtpKeys(_PROFILES[keys.suite], send=keys.send, receive=keys.receive))
        elif keys is None:
            self._srtp = None
            self._stream.protect(None)
        elif not isinstance(before, DtlsKeys):
            self._srtp = None
            self._has_keys = False
            self._stream.protect("shut")
        dtls = keys if isinstance(keys, DtlsKeys) else None
        if dtls is None:
            self._has_keys = False
        if dtls is not None or ice is not None or self._core is not None:
            address = None if remote is None else (remote.host, remote.port)
            self._open().follow(dtls, ice=ice is not None, remote=address, now=trio.current_time())
            if self._driver is not None:
                self._driver.step()

    async def run(self) -> None:
        """Serve ICE and DTLS until cancelled, once there is any."""
        if self._driver is None:
            self._needed = trio.Event()
            await self._needed.wait()
        if self._driver is not None:
            await self._driver.run()

    def close(self) -> None:
        """Say goodbye, and count what was dropped."""
        if self._driver is not None and self._core is not None:
            self._driver.close()
            self._figures.dropped(self._core.ice_dropped, self._core.dropped)
            self._driver = self._core = None
        self.on_broken = _ignore

    def _open(self) -> StreamTransport:
        if self._core is None:
            token = self._ids.token
            self._core = StreamTransport(
                self._context, lambda size: bytes.fromhex(token(size)), self._address
            )
            self._driver = Transport(
                self._core, self._stream.packets, self._address, self._stream, self._handle
            )
            if self._needed is not None:
                self._needed.set()
        return self._core

    def _secure(self, keys: SrtpKeys) -> None:
        self._has_keys = True
        if self._srtp is not None:
            self._srtp.rekey(keys)
            return
        self._srtp = Srtp(keys)
        self._stream.protect(self._srtp)

    def _handle(self, event: StreamEvent) -> None:
        match event:
            case Keyed(keys=keys):
                self._secure(keys)
            case Found(remote=remote):
                self._found = remote
            case Broken(reason=reason, detail=detail):
                strangers.info("stream cannot be protected or found", reason=reason, detail=detail)
                self.on_broken(_REASONS[reason])
                return
        if self.ready:
            self._stream.secured()

    def _count(self, keys: Keys | None, ice: Credentials | None, transport: str) -> None:
        if keys is not None and "k" not in self._counted:
            self._counted += "k"
            self._figures.keyed(keys, transport)
        if ice is not None and "i" not in self._counted:
            self._counted += "i"
            self._figures.met_by_ice()


def _ignore(reason: str) -> None:
    """Tell nobody."""
