"""The real-time text of one SIP leg: its port pair, opened when text is first asked for, and its stream."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from vb.ids import IdSource
from vb.rtp.ports import PortsExhausted
from vb.rtp.rtt_receiver import TextChunk
from vb.rtp.tasks import RtpEndpoint, TextStream
from vb.sdp.offer_answer import OfferAnswer
from vb.sdp.session import SessionDescription
from vb.sdp.text import AgreedText, offers_text

log = structlog.get_logger(__name__)


class SipText:
    """What a SIP leg has of text.

    Args:
        negotiation: learns the port of the text.
        open_endpoint: binds a port pair for as long as the leg's media live, or raises PortsExhausted
            or OSError.
        ids: source of random first numbers.
        relearn: whether a silent source may be replaced without new SDP.
    """

    def __init__(
        self,
        negotiation: OfferAnswer,
        open_endpoint: Callable[[], RtpEndpoint],
        *,
        ids: IdSource,
        relearn: bool = True,
    ) -> None:
        self._negotiation = negotiation
        self._open_endpoint = open_endpoint
        self._ids = ids
        self._relearn = relearn
        self._stream: TextStream | None = None

    @property
    def can_send(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self._stream is not None and self._stream.session.can_send

    @property
    def losses(self) -> dict[str, int]:
        """What was lost so far, by reason: texts that had to wait too long, datagrams that are no text."""
        stream = self._stream
        if stream is None:
            return {}
        return {"overflow": stream.session.overflows, "malformed": stream.session.malformed}

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

    def open_if_offered(self, offer: bytes | SessionDescription) -> None:
        """Bind the ports for an offer that has text; without ports the text is refused, not the call."""
        if self._stream is None and offers_text(offer):
            try:
                self.open()
            except (PortsExhausted, OSError) as exc:
                log.warning("text refused", problem=str(exc))

    def follow(self, agreed: AgreedText | None) -> None:
        """Let the stream follow what was agreed."""
        if self._stream is not None:
            self._stream.configure(agreed)

    def queue(self, text: str) -> bool:
        """Append text to what is to be sent; False when there is no stream, or too much waits already."""
        return self._stream is not None and self._stream.queue(text)

    async def run(self, on_text: Callable[[TextChunk], None]) -> None:
        """Send and receive until cancelled; the ports must have been bound."""
        if self._stream is not None:
            await self._stream.run(on_text)
