"""WebRTC as a kind of leg: what its legs share, and how an offer becomes one."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from vb.codecs.base import OPUS
from vb.codecs.opus import opus_available
from vb.engine import Engine
from vb.errors import BadRequest, NotAvailable
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.gathering import Gathering
from vb.rtcleg.leg import LEG_TYPE, RtcLeg, answer_offer, read_offer
from vb.rtcleg.media import open_media
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation
from vb.webrtc.reflexive import ReflexiveQueries
from vb.webrtc.session import Session

log = structlog.get_logger(__name__)

Answered = tuple[RtcLeg, bytes]


class RtcLegs:
    """All WebRTC legs of a server.

    Args:
        engine: the server.
    """

    name: Final = LEG_TYPE
    leg_types: Final[tuple[LegType, ...]] = (LEG_TYPE,)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._context: DtlsContext | None = None

    async def create(self, request: CreateLeg) -> Leg:
        """Refuse: such a leg begins with an offer of the far end.

        Raises:
            BadRequest: always.
        """
        raise BadRequest("type: a WebRTC leg begins with an offer, see webrtc_offer")

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Make the certificate of all legs, and wait; the legs have sockets of their own."""
        today = datetime.datetime.now(datetime.UTC)
        identity = await trio.to_thread.run_sync(make_identity, today, secrets.randbits(158) + 1)
        self._context = DtlsContext(identity)
        task_status.started(())
        await trio.sleep_forever()

    def readings(self) -> Iterator[Reading]:
        """Give the figures of WebRTC for the metrics."""
        yield from ()

    async def offer(self, sdp: str, app_id: str | None) -> Answered:
        """Answer an offer with a new leg; it is live, and its media comes up by itself.

        Raises:
            BadRequest: the offer cannot be answered; nothing was created.
            NotAvailable: there is no Opus on this machine.
            Unavailable: there is no room for another leg.
        """
        if self._context is None or not opus_available():
            raise NotAvailable("not available: WebRTC needs libopus")
        engine = self.engine
        negotiation = WebRtcNegotiation(
            codecs=(OPUS,),
            session_id=engine.ids.u32() >> 1,
            ssrc=engine.ids.u32(),
            cname=engine.ids.token(8),
        )
        offer = read_offer(negotiation, sdp.encode())
        engine.legs.check_capacity()
        run = partial(self._run, self._context, negotiation, offer, app_id)
        answered: Answered = await engine.legs.start_ready(run, name="WebRTC leg")
        return answered

    async def _run(
        self,
        context: DtlsContext,
        negotiation: WebRtcNegotiation,
        offer: PeerOffer,
        app_id: str | None,
        *,
        task_status: trio.TaskStatus[Answered],
    ) -> None:
        engine = self.engine
        host = engine.config.sip.bind_ip
        with open_media(
            engine,
            engine.config.sip.listen_ip or host,
            ssrc=negotiation.ssrc,
            cname=negotiation.cname,
        ) as media:
            base = (host, media.endpoint.rtp_port)
            session = Session(controlling=False, context=context, random_bytes=secrets.token_bytes)
            candidates = LocalCandidates(offer.media.mid, offer.media.index)
            candidate = local_candidate("host", base)
            session.add_local(candidate, base)
            candidates.add(candidate)
            leg = RtcLeg(
                engine.legs,
                media,
                negotiation,
                session,
                candidates,
                Gathering(base, candidates, ReflexiveQueries(secrets.token_bytes)),
                speech_detection=engine.config.speech.detection,
                leg_id=engine.ids.uuid(),
                app_id=app_id,
                now=trio.current_time(),
            )
            answer = answer_offer(negotiation, offer, leg)

            def announce() -> None:
                engine.legs.admit(leg)
                task_status.started((leg, answer))

            await leg.serve(announce)
