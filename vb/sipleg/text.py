"""The real-time text of one SIP leg: its port pair, opened when text is first asked for, and its stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from vb.choices import SrtpKeying
from vb.ids import IdSource
from vb.log import StrangersLog
from vb.rtp.ports import PortsExhausted
from vb.rtp.rtt_receiver import TextChunk
from vb.rtp.tasks import RtpEndpoint, TextStream
from vb.sdp.offer_answer import OfferAnswer
from vb.sdp.session import SessionDescription
from vb.sdp.text import AgreedText, offers_text
from vb.sipleg.streams import TextSecurity

strangers = StrangersLog(__name__)

Secure = Callable[[TextStream, int, Callable[[], None]], TextSecurity]


class SipText:
    """What a SIP leg has of text.

    Args:
        negotiation: learns the port of the text.
        open_endpoint: binds a port pair for as long as the leg's media live, or raises PortsExhausted
            or OSError.
        ids: source of random first numbers.
        relearn: whether a silent source may be replaced without new SDP.
        secure: makes the protection of a stream that is bound to a port; the last argument is told when
            there are keys, and an address.
    """

    def __init__(
        self,
        negotiation: OfferAnswer,
        open_endpoint: Callable[[], RtpEndpoint],
        *,
        ids: IdSource,
        secure: Secure,
        relearn: bool = True,
    ) -> None:
        self._negotiation = negotiation
        self._open_endpoint = open_endpoint
        self._ids = ids
        self._relearn = relearn
        self._secure = secure
        self._stream: TextStream | None = None
        self._security: TextSecurity | None = None
        self._agreed: AgreedText | None = None

    @property
    def can_send(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self._stream is not None and self._stream.session.can_send

    @property
    def keying(self) -> SrtpKeying | None:
        """How its keys are agreed on, None for plain text or none."""
        return None if self._security is None else self._security.keying

    @property
    def losses(self) -> dict[str, int]:
        """What was lost so far, by reason: texts that had to wait too long, datagrams that are no text."""
        stream = self._stream
        if stream is None:
            return {}
        malformed = stream.session.malformed + stream.refused
        return {"overflow": stream.session.overflows, "malformed": malformed}

    def open(self) -> None:
        """Bind the ports, so that our next offer asks for text; nothing happens when they are bound.

        Raises:
            PortsExhausted: no port pair is left.
            OSError: the address cannot be used.
        """
        if self._stream is None:
            endpoint = self._open_endpoint()
            self._stream = TextStream(endpoint, self._ids, relearn=self._relearn)
            self._negotiation.text_port = endpoint.rtp_port
            self._security = self._secure(self._stream, endpoint.rtp_port, self._go_on)
            if self._negotiation.text_keying is not None:
                self._negotiation.text_keying.ice = self._security

    def open_if_offered(self, offer: bytes | SessionDescription) -> None:
        """Bind the ports for an offer that has text; without ports the text is refused, not the call."""
        if self._stream is None and offers_text(offer, self._negotiation.text_keying):
            try:
                self.open()
            except (PortsExhausted, OSError) as exc:
                strangers.warning("text refused", problem=str(exc))

    def expect(self) -> None:
        """Keep the first messages of a handshake: they may come before the answer to our offer."""
        if self._security is not None:
            self._security.expect()

    def follow(self, agreed: AgreedText | None, transport: str) -> None:
        """Let the stream follow what was agreed.

        Args:
            agreed: what was agreed.
            transport: of the signalling.
        """
        self._agreed = agreed
        if self._security is not None and agreed is not None:
            self._security.follow(agreed.srtp, agreed.ice, agreed.remote_rtp, transport)
        self._go_on()

    def _go_on(self) -> None:
        """Let the stream follow, as soon as there are keys and there is an address for it."""
        stream, security, agreed = self._stream, self._security, self._agreed
        if stream is None or security is None:
            return
        if agreed is None or not security.ready:
            stream.configure(None)
            return
        stream.configure(replace(agreed, remote_rtp=security.remote or agreed.remote_rtp))

    def queue(self, text: str) -> bool:
        """Append text to what is to be sent; False when there is no stream, or too much waits already."""
        return self._stream is not None and self._stream.queue(text)

    async def run(self, on_text: Callable[[TextChunk], None]) -> None:
        """Send and receive until cancelled; the ports must have been bound."""
        if self._stream is None or self._security is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._security.run)
            await self._stream.run(on_text)

    def close(self) -> None:
        """Say goodbye where there is a handshake to end."""
        if self._security is not None:
            self._security.close()
