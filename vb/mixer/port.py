"""A participant's attachment to the plane: what it is, what it hears and what is heard of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from vb.mixer.columns import GAP_CONCEAL
from vb.mixer.core import PlaneCore
from vb.mixer.digit_tones import DigitTones
from vb.mixer.frames import FrameSink, FrameSource
from vb.mixer.media_setup import MediaSetup
from vb.mixer.packets import PortPackets
from vb.mixer.stats import PortStatistics
from vb.mixer.transform import PacketTransform
from vb.rtp.digits import EventPacket
from vb.rtp.dtmf import TelephoneEventSender
from vb.rtp.latching import SourceLatch
from vb.rtp.media_port import RtcpDatagram
from vb.rtp.packet import build_header
from vb.rtp.rtcp_session import PeerReport, SentSnapshot
from vb.rtp.stats import ReceptionSnapshot
from vb.sdp.negotiate import Agreed
from vb.sdp.offer_answer import Receivable

MAX_EVENTS: Final = 64
MAX_RTCP: Final = 16
_LOSSY: Final = 0.01
"""Share of lost packets from which on a far end that reports them is sent what mends some."""
_REPORTS_TO_FORGET: Final = 4
"""Reports without such loss after which it is not: most far ends send one every five seconds."""


class Port:
    """A participant, in a room or alone. Flags and lists may be changed any time; the next tick sees them.

    Attributes:
        slot: its place in the plane.
        handle: number of its own: no port before or after it at this place has it.
        rate_hz: rate of its audio while it is in no room, 0 before it is known.
        faulted: whether the plane took it out because it failed.
        on_speaking: told when it starts and stops to speak; must not wait.
    """

    def __init__(self, core: PlaneCore, slot: int) -> None:
        self._core = core
        self.slot = slot
        self.handle = int(core.columns.handle[slot])
        self.rate_hz = 0
        self.closed = False
        self.faulted = False
        self._muted = False
        self._deaf = False
        self._local_hold = False
        self._remote_hold = False
        self._detect_speaking = False
        self.on_speaking: Callable[[bool], None] = _ignore
        self.private: tuple[FrameSource, ...] = ()
        self.tap_in: tuple[FrameSink, ...] = ()
        self.tap_out: tuple[FrameSink, ...] = ()

    @property
    def muted(self) -> bool:
        """Whether others don't hear it; its taps still do."""
        return self._muted

    @muted.setter
    def muted(self, value: bool) -> None:
        if value != self._muted:
            self._muted = value
            self._apply_flags()

    @property
    def deaf(self) -> bool:
        """Whether it hears nothing, private playback included."""
        return self._deaf

    @deaf.setter
    def deaf(self, value: bool) -> None:
        if value != self._deaf:
            self._deaf = value
            self._apply_flags()

    @property
    def local_hold(self) -> bool:
        """Whether we hold it: it neither contributes nor hears, and is sent silence."""
        return self._local_hold

    @local_hold.setter
    def local_hold(self, value: bool) -> None:
        if value != self._local_hold:
            self._local_hold = value
            self._apply_flags()

    @property
    def remote_hold(self) -> bool:
        """Whether the peer holds us: nothing is sent, it neither contributes nor hears."""
        return self._remote_hold

    @remote_hold.setter
    def remote_hold(self, value: bool) -> None:
        if value != self._remote_hold:
            self._remote_hold = value
            self._apply_flags()

    @property
    def detect_speaking(self) -> bool:
        """Whether `on_speaking` is told; switched off, or muted, it has stopped speaking at once."""
        return self._detect_speaking

    @detect_speaking.setter
    def detect_speaking(self, value: bool) -> None:
        if value != self._detect_speaking:
            self._detect_speaking = value
            self._apply_flags()

    @property
    def held(self) -> bool:
        """Whether either side holds."""
        return self._local_hold or self._remote_hold

    @property
    def plain(self) -> bool:
        """Whether nothing but its own audio goes in and out."""
        return not (self._muted or self._deaf or self.held or self.private or self.tap_in or self.tap_out)

    def _apply_flags(self) -> None:
        if self.closed:
            return
        self._core.columns.silent[self.slot] = self._muted or self.held
        self._core.columns.shut[self.slot] = self._deaf or self.held
        self._core.speaking.watch(self.slot, self._detect_speaking and not self._muted)
        self._core.touch(self.slot)

    def waited_s(self) -> float:
        """Return how long what it says now, inside a tick, has waited here since it came."""
        return 0.0

    def silence(self) -> None:
        """Let the far end hear nothing from now on, because its leg ends."""

    def add_private(self, source: FrameSource) -> None:
        """Play to this participant only; several sources are summed."""
        self.private = (*self.private, source)
        self._core.touch(self.slot)

    def remove_private(self, source: FrameSource) -> None:
        """Stop playing; a source that is not there changes nothing."""
        self.private = tuple(other for other in self.private if other is not source)
        self._core.touch(self.slot)

    def add_tap_in(self, sink: FrameSink) -> None:
        """Listen to what it says, muted or not."""
        self.tap_in = (*self.tap_in, sink)
        self._core.touch(self.slot)

    def add_tap_out(self, sink: FrameSink) -> None:
        """Listen to what it hears; nothing comes while it is deaf or held."""
        self.tap_out = (*self.tap_out, sink)
        self._core.touch(self.slot)

    def remove_tap(self, sink: FrameSink) -> None:
        """Stop listening either way; a sink that is not there changes nothing."""
        self.tap_in = tuple(other for other in self.tap_in if other is not sink)
        self.tap_out = tuple(other for other in self.tap_out if other is not sink)
        self._core.touch(self.slot)

    def close(self) -> None:
        """Leave the plane; nothing is sent or heard from the moment of the call. Closing again is fine."""
        if self.closed:
            return
        self.detect_speaking = False
        self.closed = True
        self.on_speaking = _ignore  # whoever listened can go without waiting for the garbage collector
        self._detach()
        self._core.ports[self.slot] = None
        self._core.columns.release(self.slot)
        self._core.touch(self.slot)

    def _detach(self) -> None:
        """Let go of what else belongs to this kind of participant."""


class StreamPort(Port):
    """A participant whose audio does not come by RTP: a WebSocket client, an agent, a bridge.

    Args:
        core: the plane.
        slot: its place there.
        source: what it says, asked at the room's rate.
        sink: gets what it hears, the room less itself.
        rate_hz: rate of its audio while it is in no room.
        comfort_noise: whether faint noise may fill what it hears while nothing is said.
    """

    def __init__(
        self,
        core: PlaneCore,
        slot: int,
        source: FrameSource | None,
        sink: FrameSink | None,
        rate_hz: int,
        *,
        comfort_noise: bool = True,
    ) -> None:
        super().__init__(core, slot)
        self.source = source
        self.sink = sink
        self.rate_hz = rate_hz
        self.comfort_noise = comfort_noise


class RtpPort(Port):
    """An RTP leg's attachment.

    Attributes:
        events: telephone-event packets, the newest 64.
        rtcp: RTCP datagrams, the newest 16.
        wake: called when one of the two has got something.
        packets: STUN and DTLS, for whoever listens.
        ssrc: our source.
        supervised: whether the peer's silence ends the leg; set when it is answered. Its service is told.
        authenticated: whether the transform refuses every packet that is not the peer's; then packets may
            come from anywhere, and the socket is never tied to one address. Set before `configure`.
    """

    def __init__(self, core: PlaneCore, slot: int) -> None:
        super().__init__(core, slot)
        self.events: deque[EventPacket] = deque(maxlen=MAX_EVENTS)
        self.rtcp: deque[RtcpDatagram] = deque(maxlen=MAX_RTCP)
        self.wake: Callable[[], None] = _nothing
        self.packets = PortPackets()
        self.ssrc = core.ids.u32()
        self.agreed: Agreed | None = None
        self.digits: TelephoneEventSender | None = None
        self.digit_tones = DigitTones()
        self.authenticated = False
        self.supervised = False
        self.latch = SourceLatch(relearn=core.relearn)
        self._peer_report: PeerReport | None = None
        self._reports_without_loss = 0
        self._sending = False

    def configure(self, agreed: Agreed) -> None:
        """Follow a completed offer/answer, the first or a later one.

        A new remote address is learnt for five seconds; codecs, payload types, packet time and direction
        change with the next tick.

        Raises:
            CodecError: the library of a codec is missing; the port stays as it was.
        """
        MediaSetup(self._core, self).apply(agreed)
        self.wake()

    def follow_room(self) -> None:
        """Go on at the rate of the room that it is in now, where its codec has that rate.

        Raises:
            CodecError: the library of a codec is missing; the port stays as it was.
        """
        if self.agreed is not None:
            MediaSetup(self._core, self).apply(self.agreed)

    def expect(self, receivable: Receivable) -> None:
        """Take what an offer of ours lists before it is answered; nothing is sent, and no silence is a fault.

        Until then its source is whoever sends first, as long after the offer as after an answer.
        """
        MediaSetup(self._core, self).expect(receivable.codecs, receivable.telephone_events)

    @property
    def audio_level_id(self) -> int | None:
        """Number of the header extension with the level of what comes in; packets of silence rest undecoded.

        Spec: RFC 6464.
        """
        return int(self._core.columns.level_id[self.slot]) or None

    @audio_level_id.setter
    def audio_level_id(self, value: int | None) -> None:
        if not self.closed:
            self._core.columns.level_id[self.slot] = value or 0

    @property
    def transform(self) -> PacketTransform | None:
        """What is done to each RTP and RTCP packet next to the socket; None for nothing."""
        return self._core.transforms.get(self.slot)

    @transform.setter
    def transform(self, value: PacketTransform | None) -> None:
        if not self.closed:
            self._core.transforms.set(self.slot, value)

    @property
    def peer_report(self) -> PeerReport | None:
        """How it arrives, by the far end's last report; what is lost decides how it is encoded."""
        return self._peer_report

    @peer_report.setter
    def peer_report(self, value: PeerReport | None) -> None:
        if value is self._peer_report:
            return
        self._peer_report = value
        is_lossy = value is not None and value.fraction_lost >= _LOSSY
        self._reports_without_loss = 0 if is_lossy else self._reports_without_loss + 1
        if not self.closed:
            lossy = self._core.columns.lossy
            lossy[self.slot] = is_lossy or (
                lossy[self.slot] and self._reports_without_loss < _REPORTS_TO_FORGET
            )

    def seal_rtcp(self, data: bytes) -> bytes | None:
        """Return RTCP as it is to be sent, None when the transform refuses it."""
        return self._core.transforms.seal_rtcp(self.slot, data)

    @property
    def sending(self) -> bool:
        """Whether audio may go out at all; direction and hold decide too. Off until set."""
        return self._sending

    @sending.setter
    def sending(self, value: bool) -> None:
        if value and not self._sending and not self.closed:
            self._core.columns.marker[self.slot] = True
        self._sending = value
        self._core.touch(self.slot)

    def silence(self) -> None:
        """Send nothing from now on, because the leg ends."""
        self.sending = False

    @property
    def transmitting(self) -> bool:
        """Whether packets go out in each tick."""
        agreed = self.agreed
        return (
            self._sending
            and agreed is not None
            and (agreed.remote_rtp is not None or self.latch.locked is not None)
            and agreed.direction in ("sendrecv", "sendonly")
            and not self._remote_hold
        )

    @property
    def shares(self) -> bool:
        """Whether it hears the room and nothing else, so that others may be sent the same."""
        is_alone = self._deaf or self.held or self.private or self.tap_out
        return self.transmitting and not is_alone and not self.dialling

    @property
    def peer_may_send(self) -> bool:
        """Whether the peer's direction lets it send; only then is its silence a fault.

        A phone that holds us by an address of zeros, the older way, is silent as a rule.
        """
        agreed = self.agreed
        return (
            agreed is not None
            and agreed.direction in ("sendrecv", "recvonly")
            and not (agreed.remote_held and agreed.remote_rtp is None)
        )

    def send_digits(self, digits: str) -> bool:
        """Send telephone-events in place of audio.

        Returns:
            False when the peer takes none or holds us, or too many digits wait; then nothing is sent.
        """
        if self.digits is None or self.closed or self._remote_hold or not self.digits.queue(digits):
            return False
        self._core.touch(self.slot)
        return True

    def send_tones(self, digits: str) -> bool:
        """Send digits as tones in place of audio, to a peer that takes no telephone-events.

        Returns:
            False when no audio goes out, or too many digits wait; then nothing is sent.
        """
        if self.closed or not self.transmitting or not self.digit_tones.queue(digits):
            return False
        self._core.touch(self.slot)
        return True

    @property
    def dialling(self) -> bool:
        """Whether digits take the place of audio now."""
        return self.digit_tones.active or (self.digits is not None and self.digits.active)

    @property
    def last_arrival_s(self) -> float:
        """Monotonic time of the last packet from the leg's source, or of its opening."""
        return float(self._core.columns.heard_at[self.slot])

    def waited_s(self) -> float:
        """Return how long what it says now, inside a tick, has waited for it."""
        return self._core.playout.waited_s(self.slot, self._core.now)

    def sent(self) -> SentSnapshot:
        """Return the state of our own stream."""
        columns, slot = self._core.columns, self.slot
        return SentSnapshot(
            packets=int(columns.sent_packets[slot]),
            octets=int(columns.sent_octets[slot]),
            timestamp=int(columns.timestamp[slot]),
        )

    def reception(self) -> ReceptionSnapshot | None:
        """Return the state of the incoming source, or None before its first packet."""
        return self._core.arrivals.snapshot(self.slot)

    def keep_alive(self) -> bytes | None:
        """Return a packet that opens a NAT's way to us: no payload, and a type that nobody negotiated.

        None when the transform refuses it.

        Spec: RFC 6263 §4.6.
        """
        columns, slot = self._core.columns, self.slot
        unused = next(
            t for t in range(127, 95, -1) if not columns.kinds[slot, t] and t != columns.payload_type[slot]
        )
        sequence = int(columns.sequence[slot])
        columns.sequence[slot] = (sequence + 1) & 0xFFFF
        packet = build_header(unused, sequence, int(columns.timestamp[slot]), self.ssrc)
        return self._core.transforms.seal(slot, packet)

    def statistics(self) -> PortStatistics:
        """Return the figures of this moment; after `close` those of nobody."""
        core, slot = self._core, self.slot
        columns, arrivals, playout = core.columns, core.arrivals, core.playout
        stream = core.streams[slot]
        return PortStatistics(
            reception=self.reception(),
            sent=self.sent(),
            ssrc=self.ssrc,
            received_octets=int(arrivals.octets[slot]),
            last_arrival_s=self.last_arrival_s,
            jitter_ms=float(arrivals.jitter[slot]) * 1000 / int(arrivals.clock_hz[slot]),
            delay_ms=playout.delay_ms(slot),
            late=int(playout.late[slot]),
            discarded=int(playout.discarded[slot]),
            duplicates=int(arrivals.duplicates[slot]),
            strays=int(arrivals.strays[slot]),
            refused=self.latch.refused,
            damaged=int(columns.damaged[slot]) + (stream.damaged if stream else 0),
            underruns=int(playout.underruns[slot]),
            concealed=int(columns.concealed[slot]),
            shifts=int(playout.shifts[slot]),
        )

    def _detach(self) -> None:
        core, slot = self._core, self.slot
        self.wake = _nothing
        core.sharing.release(slot)
        self.packets.close()
        core.transforms.set(slot, None)
        core.io.detach(slot)
        core.latches[slot] = None
        core.streams[slot] = None
        core.resting.forget(slot)
        core.clear_ring(slot)
        core.packetizers[slot] = None
        core.arrivals.forget(slot)
        core.playout.forget(slot)
        core.columns.gap[slot] = GAP_CONCEAL


def _nothing() -> None:
    """Wake nobody."""


def _ignore(speaking: bool) -> None:
    """Tell nobody."""
