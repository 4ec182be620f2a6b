"""The text stream of one leg: whom it listens to, what it has to say, and what was agreed for it.

Spec: RFC 4103.
"""

from collections import deque
from typing import Final

from vb.ids import IdSource
from vb.rtp.latching import Address, SourceLatch, Verdict
from vb.rtp.packet import PacketKind, RtpPacket, classify, parse_rtp
from vb.rtp.rtt_receiver import TextChunk, TextReceiver, join
from vb.rtp.rtt_sender import TextSender
from vb.sdp.direction import receives, sends
from vb.sdp.text import AgreedText

KEEP_ALIVE_S: Final = 15.0
"""How often a way through NATs is kept open while there is nothing to say."""
_MAX_UNPROVEN: Final = 8


class TextSession:
    """Sends and receives the text of one leg.

    Args:
        ids: source of the random first numbers of our stream.
        now: monotonic time.
        relearn: whether a silent source may be replaced without new SDP.

    Attributes:
        agreed: what the last exchange of offer and answer made of it, None while there is no text.
        latch: whom it listens to.
        overflows: texts that were not taken because too much waits.
    """

    def __init__(self, ids: IdSource, now: float, *, relearn: bool = True) -> None:
        self.agreed: AgreedText | None = None
        self.latch = SourceLatch(relearn=relearn)
        self.overflows = 0
        # Half of the numbers come before the first wrap, which SRTP must not miss (RFC 3711 §3.3.1).
        sequence = ids.u16() >> 1
        self._sender = TextSender(ssrc=ids.u32(), sequence=sequence, timestamp=ids.u32(), now=now)
        self._receiver = TextReceiver()
        self._unproven: deque[tuple[Address, RtpPacket]] = deque(maxlen=_MAX_UNPROVEN)
        self._sent_at = now

    @property
    def can_send(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self.agreed is not None and sends(self.agreed.direction) and self._address is not None

    @property
    def malformed(self) -> int:
        """How many packets could not be read."""
        return self._receiver.malformed

    def configure(self, agreed: AgreedText | None, now: float) -> None:
        """Follow a completed offer/answer; only a new remote address is learnt anew."""
        before, self.agreed = self.agreed, agreed
        if agreed is not None and (before is None or before.remote_rtp != agreed.remote_rtp):
            remote = agreed.remote_rtp
            self.latch.expect(None if remote is None else (remote.host, remote.port), now)
            self._unproven.clear()

    # -- out -----------------------------------------------------------------------------------------------

    def queue(self, text: str, now: float) -> bool:
        """Append text to what is to be sent.

        Returns:
            False when too much waits already; then none of it is taken.
        """
        taken = self._sender.queue(text, now)
        self.overflows += not taken
        return taken

    def packet(self, now: float) -> tuple[bytes, Address] | None:
        """Return the packet that is due with its destination, None when none is."""
        agreed, address = self.agreed, self._address
        if agreed is None or address is None or not sends(agreed.direction):
            return None
        due = self._sender.deadline(agreed.characters_per_s)
        if due is not None and now >= due:
            data = self._sender.tick(agreed.send, agreed.characters_per_s, now)
        elif now >= self._sent_at + KEEP_ALIVE_S:
            data = self._sender.keep_alive(agreed.send, now)
        else:
            data = None
        if data is None:
            return None
        self._sent_at = now
        return data, address

    @property
    def _address(self) -> Address | None:
        if self.latch.locked is not None:
            return self.latch.locked
        remote = None if self.agreed is None else self.agreed.remote_rtp
        return None if remote is None else (remote.host, remote.port)

    # -- in ------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, source: Address, now: float) -> TextChunk | None:
        """Take a datagram and return the text that it makes available."""
        agreed = self.agreed
        if agreed is None or not receives(agreed.direction) or classify(datagram) is not PacketKind.RTP:
            return None
        packet = parse_rtp(datagram)
        if packet is None:
            return None
        known = packet.payload_type in (agreed.receive.t140, agreed.receive.red)
        verdict = self.latch.receive(source, packet.ssrc, packet.sequence, known_type=known, now=now)
        if verdict is Verdict.REFUSE:
            self._unproven.append((source, packet))
            return None
        packets = [packet]
        if verdict is Verdict.LOCK:
            # The packets by which a source proved itself hold text too.
            packets = [*(kept for address, kept in self._unproven if address == source), packet]
            self._unproven.clear()
        return join(self._receiver.receive(item, agreed.receive, now) for item in packets)

    def expire(self, now: float) -> TextChunk | None:
        """Return the text that has waited long enough for something missing before it."""
        return self._receiver.expire(now)

    @property
    def deadline(self) -> float | None:
        """When to ask for `packet` and `expire` again, None while only an event can bring something."""
        deadlines = [self._receiver.deadline]
        if self.agreed is not None and self.can_send:
            deadlines.append(self._sender.deadline(self.agreed.characters_per_s))
            deadlines.append(self._sent_at + KEEP_ALIVE_S)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
