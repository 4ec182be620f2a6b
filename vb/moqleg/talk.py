"""What both ends of a MoQ leg publish and subscribe to.

We publish `mix`, with what the leg hears in `audio`, and want `mic` of the peer, with what it says in
`audio`. With text there is a track `text` in both. Frames of Opus become RTP packets for the plane and come
from it as such, which is how they get into its buffers and its batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from vb.codecs.base import OPUS
from vb.limits.rate import RateLimit
from vb.log import StrangersLog
from vb.mixer.links import PacketLink
from vb.moq.codes import AnnounceCode, DoneCode, ObjectStatus, SessionCode, SubscribeCode
from vb.moq.objects import Object
from vb.moq.publication import Publication, Track
from vb.moq.session import MoqSession
from vb.moq.subscription import Sink, Subscription
from vb.moq.wire import Namespace
from vb.moqleg.numbering import Numbering
from vb.quic.session import Session
from vb.rtp.packet import HEADER_BYTES, build_header
from vb.wsleg.conversation import CONTROLS_PER_S
from vb.wsleg.losses import Losses
from vb.wsleg.socket import Outbox

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

MIX: Final = (b"mix",)
MIC: Final = (b"mic",)
AUDIO: Final = b"audio"
TEXT: Final = b"text"
FRAME_MS: Final = 20
PIECE_CHARACTERS: Final = 4000
"""Of text in an object: in UTF-8 that is never more than a peer like us takes."""
FRAME_UNITS: Final = 960
"""Of the RTP clock in 20 ms."""
_UNSENT_FRAMES: Final = 8
"""Frames that wait to be handed to the session, which happens right after each tick."""


class Talk:
    """One session, as its leg sees it; it is the host of the MoQ session.

    Args:
        transport: the WebTransport session.
        outbox: lets frames go out once the tick is over.
        losses: counts what is lost.
        ssrc: of what the peer says, to the plane.
        text: whether there are tracks of text.

    Attributes:
        link: the far end, to the plane.
        session: the MoQ session, which receives for the transport.
        decided: set once setup is over, or the session.
        over: set once the session has ended.
        end_code: with which code it has.
        on_hearing: told whether the peer wants to hear.
        on_text: gets text of the peer.
        on_fault: told of a fault of ours while frames went out.
    """

    def __init__(self, transport: Session, outbox: Outbox, losses: Losses, ssrc: int, *, text: bool) -> None:
        self.link = PacketLink(self._take_frame)
        self.session = MoqSession(transport, self)
        self.decided = trio.Event()
        self.over = trio.Event()
        self.end_code = 0
        self.on_hearing: Callable[[bool], None] | None = None
        self.on_text: Callable[[str], None] | None = None
        self.on_fault: Callable[[Exception], None] | None = None
        self.losses = losses
        self._outbox = outbox
        self._ssrc = ssrc
        self._with_text = text
        self._frames: deque[bytes] = deque(maxlen=_UNSENT_FRAMES)
        self._wanted: dict[bytes, Subscription] = {}
        self._published: dict[bytes, Publication] = {}
        self._warned = False
        self._finished = False

    def finish(self, reason: str, *, going_away: bool) -> None:
        """Publish nothing any more, and say so."""
        self._finished = True
        self._published.clear()
        self.session.finish(reason, going_away=going_away)

    def close(self, reason: str, *, failed: bool) -> None:
        """End the session."""
        self.session.close(reason, code=SessionCode.INTERNAL_ERROR if failed else SessionCode.NO_ERROR)

    def detach(self) -> None:
        """Let go of the leg, which need not wait for the garbage collector."""
        self.on_hearing = self.on_text = self.on_fault = None

    # -- what the session tells ----------------------------------------------------------------------------

    def ready(self) -> None:
        """Say what there is, and ask for what the peer says, announced or not."""
        self.decided.set()
        self.session.announce(MIX)
        self._subscribe()

    def ended(self, code: int, reason: str) -> None:
        """Take note of the end."""
        if code:
            strangers.info("moq session ended", code=code)
            log.debug("what the end of a moq session says", reason=reason)
        self.end_code = code
        self._published.clear()
        self.decided.set()
        self.over.set()

    def refusal(self, track: Track) -> int | None:
        """Refuse tracks that there are not."""
        is_there = track.namespace == MIX and track.name in self._names and not self._finished
        return None if is_there else SubscribeCode.TRACK_DOES_NOT_EXIST

    def subscribed(self, publication: Publication) -> None:
        """Begin to send a track."""
        self._published[publication.published.track.name] = publication
        self._tell_hearing()

    def unsubscribed(self, publication: Publication) -> None:
        """Send it no more."""
        self._published.pop(publication.published.track.name, None)
        self._tell_hearing()

    def uninterested(self, namespace: Namespace) -> int | None:
        """Refuse all namespaces but the one that is listened to."""
        return None if namespace == MIC else AnnounceCode.UNINTERESTED

    def announced(self, namespace: Namespace) -> None:
        """Ask once more for what was refused before it was announced, or is over."""
        self._subscribe()

    @property
    def _names(self) -> Sequence[bytes]:
        return (AUDIO, TEXT) if self._with_text else (AUDIO,)

    def _subscribe(self) -> None:
        for name in self._names:
            before = self._wanted.get(name)
            if before is not None:
                if before.live:
                    continue
                self.session.unsubscribe(before)
            sink: Sink = _AudioSink(self, self._ssrc) if name == AUDIO else _TextSink(self)
            self._ssrc = (self._ssrc + 1) & 0xFFFF_FFFF  # numbered anew, it is another source
            self._wanted[name] = self.session.subscribe(Track(MIC, name), sink)

    @property
    def hears(self) -> bool:
        """Whether the peer wants to hear."""
        return AUDIO in self._published

    def _tell_hearing(self) -> None:
        if self.on_hearing is not None:
            self.on_hearing(self.hears)

    # -- audio and text out --------------------------------------------------------------------------------

    def _take_frame(self, packet: memoryview) -> None:
        """Take what the plane sends, in its tick."""
        if len(self._frames) == _UNSENT_FRAMES:
            self.losses.add("out", "slow_reader", 1, FRAME_MS)
        self._frames.append(bytes(packet[HEADER_BYTES:]))
        self._outbox.add(self)

    def flush(self) -> None:
        """Hand the frames over to the session."""
        try:
            while self._frames:
                self._send(self._frames.popleft())
        except Exception as fault:  # the boundary of one leg: its session fails alone
            if self.on_fault is not None:
                self.on_fault(fault)

    def _send(self, frame: bytes) -> None:
        publication = self._published.get(AUDIO)
        if publication is None or self.session.over:
            return
        dropped = publication.send(frame)
        if publication.finished:
            self.session.publish_done(publication, DoneCode.SUBSCRIPTION_ENDED)
            self.unsubscribed(publication)
        elif dropped:
            self.losses.add("out", "slow_reader", dropped, dropped * FRAME_MS)

    @property
    def has_text(self) -> bool:
        """Whether the peer takes text now."""
        publication = self._published.get(TEXT)
        return publication is not None and publication.forward and not self.session.over

    def say(self, text: str) -> bool:
        """Send text; False when the peer has none, or takes it too slowly."""
        pieces = (text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS))
        return self.has_text and all(self._published[TEXT].send_alone(piece.encode()) for piece in pieces)

    def malformed(self, problem: str) -> None:
        """Count an object that is of no use."""
        self.losses.add("in", "malformed", 1)
        if not self._warned:  # once for each session, or it could fill the log
            self._warned = True
            strangers.info("moq object dropped", problem=problem)


class _AudioSink:
    """What the peer says, as packets for the plane."""

    def __init__(self, talk: Talk, ssrc: int) -> None:
        self._talk = talk
        self._ssrc = ssrc
        self._numbering = Numbering()

    def object(self, group: int, item: Object) -> None:
        if item.status is not ObjectStatus.NORMAL or not item.payload:
            return
        now = trio.current_time()
        frame = self._numbering.place(group, item.id, now)
        if frame is None:
            return
        header = build_header(
            OPUS.payload_type, frame & 0xFFFF, frame * FRAME_UNITS & 0xFFFF_FFFF, self._ssrc
        )
        link = self._talk.link
        dropped = link.dropped
        if not link.receive(header + item.payload, now) and link.dropped > dropped:
            self._talk.losses.add("in", "overflow", 1, FRAME_MS)

    def group_over(self, group: int, size: int = 0) -> None:
        self._numbering.over(group, size)

    def unusable(self) -> None:
        self._talk.malformed("it is too long")

    def over(self, reason: str) -> None:
        """Wait for an announcement."""


class _TextSink:
    """What the peer types."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._rate = RateLimit(CONTROLS_PER_S)

    def object(self, group: int, item: Object) -> None:
        if item.status is not ObjectStatus.NORMAL or not item.payload:
            return
        if not self._rate.take(trio.current_time()):
            self._talk.losses.add("in", "flood", 1)
            return
        try:
            text = item.payload.decode()
        except UnicodeDecodeError:
            self._talk.malformed("it is no text")
            return
        if self._talk.on_text is not None:
            self._talk.on_text(text)

    def group_over(self, group: int, size: int = 0) -> None:
        """There is nothing to be done."""

    def unusable(self) -> None:
        self._talk.malformed("it is too long")

    def over(self, reason: str) -> None:
        """Wait for an announcement."""
