"""WebRTC as a kind of leg: what its legs share, and how an offer becomes one."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import structlog
import trio

from vb.codecs.base import OPUS
from vb.codecs.opus import opus_available
from vb.engine import Engine
from vb.errors import BadRequest, ConfigError, NotAvailable
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading
from vb.names import NameLookup
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.connection import RtcConnection
from vb.rtcleg.external import find_external
from vb.rtcleg.gathering import Gathering, reachable
from vb.rtcleg.ice_servers import IceServerError, IceServers
from vb.rtcleg.leg import LEG_TYPE, RtcLeg, answer_offer, read_offer
from vb.rtcleg.media import RtcMedia, open_media
from vb.rtcleg.second_family import SecondSocket, open_second
from vb.rtp.ports import PortsExhausted
from vb.rtp.tasks import RtpKeeper
from vb.sip.tasks.resolve import advertised_host
from vb.webrtc.candidate import local_candidate
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation
from vb.webrtc.session import Session

log = structlog.get_logger(__name__)

Answered = tuple[RtcLeg, bytes]

AUTO: Final = "auto"
_LOOKUPS_AT_ONCE: Final = 4
_HIGHEST_PREFERENCE: Final = 65_535
_SECOND_PREFERENCE: Final = 32_767
"""Local preferences of the first address of either family; further ones follow below (RFC 8445 §5.1.2.1)."""


class RtcLegs:
    """All WebRTC legs of a server.

    Args:
        engine: the server.

    Attributes:
        servers: STUN and TURN servers.
        external: addresses that are told in place of our own; empty for none.
        names: looks up those servers.
        keeper: serves the RTCP and the digits of its legs.

    Raises:
        ConfigError: settings that cannot be used.
    """

    name: Final = LEG_TYPE
    leg_types: Final[tuple[LegType, ...]] = (LEG_TYPE,)

    def __init__(self, engine: Engine) -> None:
        config = engine.config.webrtc
        self.engine = engine
        try:
            self.servers = IceServers.parse(url.get_secret_value() for url in config.ice_servers)
        except IceServerError as exc:
            raise ConfigError(f"ICE_SERVERS: {exc}") from None
        self.external = () if config.external_ips == (AUTO,) else config.external_ips
        self.names = NameLookup("ice", at_once=_LOOKUPS_AT_ONCE, lookup=engine.look_up)
        self.keeper = RtpKeeper()
        self._live: set[RtcConnection] = set()
        self._dropped: Counter[str] = Counter()

    async def create(self, request: CreateLeg) -> Leg:
        """Refuse: such a leg begins with an offer of the far end.

        Raises:
            BadRequest: always.
        """
        raise BadRequest("type: a WebRTC leg begins with an offer, see webrtc_offer")

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Find out how we look from outside, and serve RTP until cancelled."""
        if self.engine.config.webrtc.external_ips == (AUTO,):
            bind = self._bind_host
            found = await find_external(
                self.servers.within_reach(bind), bind, self.names, secrets.token_bytes
            )
            self.external = () if found is None else (found,)
            log.info("external address", found=found)
        task_status.started(())
        await self.keeper.run()

    def readings(self) -> Iterator[Reading]:
        """Give the figures of WebRTC for the metrics."""
        totals = sum((connection.dropped() for connection in self._live), Counter(self._dropped))
        for reason in ("stun", "transport", "malformed", "unauthentic", "replayed", "unsent", "relay"):
            yield (
                "webrtc_dropped",
                "Packets of WebRTC legs that were dropped",
                totals[reason],
                {"reason": reason},
            )
        yield from self.names.readings()

    @property
    def _bind_host(self) -> str:
        sip = self.engine.config.sip
        return sip.listen_ip or sip.bind_ip

    @contextmanager
    def _second(self, media: RtcMedia) -> Iterator[SecondSocket | None]:
        """Hold a socket of IPv6 inside the block, where the server speaks both and has a port for it."""
        sip = self.engine.config.sip
        bind = sip.listen_ipv6 or sip.bind_ipv6
        if not bind or ":" in self._bind_host:
            yield None
            return
        leg_socket = reachable((self._bind_host, media.endpoint.rtp_port))
        with ExitStack() as closing:
            second = None
            try:
                second = closing.enter_context(
                    open_second(self.engine.ports, bind, advertised_host(sip.bind_ipv6), leg_socket)
                )
            except (PortsExhausted, OSError) as exc:
                log.info("no IPv6 candidate", problem=str(exc))
            yield second

    async def offer(
        self,
        sdp: str,
        app_id: str | None,
        speech_detection: bool | None = None,
        heard_hz: int | None = None,
    ) -> Answered:
        """Answer an offer with a new leg; it is live, and its media comes up by itself.

        Args:
            sdp: the offer.
            app_id: word to filter events by.
            speech_detection: whether speaking events are told; None for the server's setting.
            heard_hz: highest sample rate at which the peer will be heard; None for that of new rooms.

        Raises:
            BadRequest: the offer cannot be answered; nothing was created.
            NotAvailable: there is no Opus on this machine.
            Unavailable: there is no room for another leg.
        """
        if not opus_available():
            raise NotAvailable("not available: WebRTC needs libopus")
        engine = self.engine
        negotiation = WebRtcNegotiation(
            codecs=(OPUS,),
            session_id=engine.ids.u32() >> 1,
            ssrc=engine.ids.u32(),
            cname=engine.ids.token(8),
            heard_hz=heard_hz or engine.config.rooms.default_sample_rate,
        )
        offer = read_offer(negotiation, sdp.encode())
        engine.legs.check_capacity()
        detect = engine.config.speech.detection if speech_detection is None else speech_detection
        run = partial(self._run, negotiation, offer, app_id, detect)
        answered: Answered = await engine.legs.start_ready(run, name="WebRTC leg")
        return answered

    async def _run(
        self,
        negotiation: WebRtcNegotiation,
        offer: PeerOffer,
        app_id: str | None,
        speech_detection: bool,
        *,
        task_status: trio.TaskStatus[Answered],
    ) -> None:
        engine = self.engine
        with self.open_connection(
            negotiation, controlling=False, mid=offer.media.mid, line_index=offer.media.index
        ) as connection:
            leg = RtcLeg(
                engine.legs,
                connection,
                negotiation,
                speech_detection=speech_detection,
                leg_id=engine.ids.uuid(),
                app_id=app_id or None,
                now=trio.current_time(),
            )
            answer = answer_offer(negotiation, offer, leg)

            def announce() -> None:
                engine.legs.admit(leg)
                task_status.started((leg, answer))

            await leg.serve(announce)

    @contextmanager
    def open_connection(
        self, negotiation: WebRtcNegotiation, *, controlling: bool, mid: str | None, line_index: int
    ) -> Iterator[RtcConnection]:
        """Hold sockets, a place in the plane and a transport inside the block.

        Args:
            negotiation: the descriptions of the leg.
            controlling: whether we make the first offer.
            mid: name of the audio line.
            line_index: its position.

        Raises:
            Unavailable: nothing is left.
        """
        engine, bind = self.engine, self._bind_host
        with (
            open_media(engine, self.keeper, bind, ssrc=negotiation.ssrc, cname=negotiation.cname) as media,
            self._second(media) as second,
        ):
            port = media.endpoint.rtp_port
            base = (advertised_host(engine.config.sip.bind_ip), port)
            session = Session(controlling=controlling, context=engine.dtls, random_bytes=secrets.token_bytes)
            candidates = LocalCandidates(mid, line_index)
            outside = [found for found in self.external if (":" in found) == (":" in base[0])]
            for rank, host in enumerate(outside or (base[0],)):
                candidate = local_candidate("host", (host, port), preference=_HIGHEST_PREFERENCE - rank)
                session.add_local(candidate, base)
                candidates.add(candidate)
            if second is not None:
                # Behind all of the first family: media takes longer this way.
                hosts = [found for found in self.external if ":" in found] or [second.base[0]]
                for rank, host in enumerate(hosts):
                    place = (host, second.base[1])
                    candidate = local_candidate("host", place, preference=_SECOND_PREFERENCE - rank)
                    session.add_local(candidate, second.base)
                    candidates.add(candidate)
            gathering = Gathering(
                base,
                (bind, port),
                candidates,
                self.servers.within_reach(bind),
                self.names,
                secrets.token_bytes,
                media.send,
                second,
            )
            connection = RtcConnection(media, session, candidates, gathering)
            self._live.add(connection)
            try:
                yield connection
            finally:
                self._live.discard(connection)
                self._dropped.update(connection.dropped())
