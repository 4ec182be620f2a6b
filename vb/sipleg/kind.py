"""SIP as a kind of leg: its endpoint, what its calls share, and how one is placed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from vb.codecs.base import Codec, find_codec
from vb.codecs.opus import opus_available
from vb.config import SipConfig
from vb.engine import Engine
from vb.errors import ConfigError
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.limits.destinations import Destinations
from vb.metrics import Reading
from vb.rtp.tasks import RtpKeeper
from vb.sip.errors import SipTargetError
from vb.sip.settings import AgentSettings
from vb.sip.target import proxy_route
from vb.sip.tasks.endpoint import SipCall, SipEndpoint, SipSettings
from vb.sip.tasks.tls import Tls, load_tls
from vb.sipleg.auto_transfer import decision_time_s, transfer_policy
from vb.sipleg.inbound import accept_call, refusal
from vb.sipleg.outbound import create_call
from vb.sipleg.srtp import SrtpFigures

log = structlog.get_logger(__name__)


class SipLegs:
    """All SIP legs of a server.

    Args:
        engine: the server.

    Attributes:
        endpoint: sends and receives SIP.
        codecs: what calls may use, in order of preference.
        destinations: what may be called.
        transfers: what becomes of far ends' REFERs.
        srtp_figures: what its calls have of SRTP.
        claims: asked of each new call, in order; True from one that has taken the call for a kind of its own.
        keeper: serves the RTCP and the digits of its calls.

    Raises:
        ConfigError: settings that cannot be used together.
    """

    name: Final = "sip"
    leg_types: Final[tuple[LegType, ...]] = ("sip_inbound", "sip_outbound")

    def __init__(self, engine: Engine) -> None:
        config, history = engine.config, engine.history
        self.engine = engine
        self.codecs = enabled_codecs(config.sip)
        self.destinations = Destinations(config.server.dial_allow)
        self.transfers = transfer_policy(self)
        self.srtp_figures = SrtpFigures()
        self.claims: list[Callable[[SipCall], bool]] = []
        self.keeper = RtpKeeper()
        self.endpoint = SipEndpoint(
            sip_settings(config.sip),
            engine.ids,
            partial(accept_call, self),
            refuse_new=partial(refusal, self),
            look_up=engine.look_up,
            on_message=None if history is None or config.history.sip == "off" else history.sip_message,
        )

    async def create(self, request: CreateLeg) -> Leg:
        """Place an outgoing call and return its ringing leg.

        Raises:
            VbError: as `create_call` says; nothing was sent or created.
        """
        return await create_call(self, request)

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve SIP until cancelled; started with `transport:host:port` of every socket.

        Raises:
            OSError: an address cannot be bound.
        """
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(self.endpoint.run)
            nursery.start_soon(self.keeper.run)
            task_status.started([_shown(*address) for address in bound])

    def readings(self) -> Iterator[Reading]:
        """Give the figures of SIP for the metrics."""
        endpoint = self.endpoint
        yield "sip_messages", "SIP messages received", endpoint.stats.messages, {}
        yield "sip_malformed", "SIP messages that could not be read", endpoint.stats.malformed, {}
        ignored = endpoint.stats.ignored_header_lines
        yield "sip_header_lines_ignored", "Unusable SIP header lines that were left out", ignored, {}
        yield "sip_refused", "INVITEs refused for lack of room", endpoint.stats.refused_overload, {}
        yield "sip_keep_alives", "Keep-alives of far ends", endpoint.stats.keep_alives, {}
        yield "sip_stray", "SIP messages that belong to no call or transaction", endpoint.stats.stray, {}
        yield "sip_connections", "TCP and TLS connections", endpoint.connections, {}
        refused = endpoint.refused_connections
        yield "sip_connections_refused", "TCP and TLS connections beyond a limit", refused, {}
        yield "sip_calls", "SIP calls that are not closed", endpoint.calls, {}
        yield "sip_transactions", "SIP transactions, lingering ones included", endpoint.transactions, {}
        yield "sip_faults", "Faults contained in SIP", endpoint.faults, {}
        yield "sip_overflows", "Calls ended because too many of their events waited", endpoint.overflows, {}
        yield "sip_dropped", "SIP messages lost because a send queue was full", endpoint.dropped, {}
        yield from self.srtp_figures.readings()
        yield from endpoint.names.readings()


def enabled_codecs(config: SipConfig) -> tuple[Codec, ...]:
    """Return the codecs that calls may use, in order of preference.

    Raises:
        ConfigError: none of them is available.
    """
    found = (find_codec(name) for name in config.codecs)
    codecs = tuple(codec for codec in found if codec is not None)
    if any(codec.name == "opus" for codec in codecs) and not opus_available():
        log.warning("no libopus was found; opus is not offered")
        codecs = tuple(codec for codec in codecs if codec.name != "opus")
    if not codecs:
        raise ConfigError("SIP_CODECS: none of the codecs is available on this machine")
    return codecs


def sip_settings(config: SipConfig) -> SipSettings:
    """Return what the SIP endpoint needs of the settings.

    Raises:
        ConfigError: the files for TLS or the outbound proxy cannot be used.
    """
    if config.outbound_proxy:
        try:
            transport = proxy_route(config.outbound_proxy).transport
        except SipTargetError:
            raise ConfigError("SIP_OUTBOUND_PROXY: must be a SIP URI") from None
        if transport not in ("udp", "tcp", "tls"):
            raise ConfigError(f"SIP_OUTBOUND_PROXY: there is no SIP over {transport.upper()}")
        if transport == "tls" and config.tls_port is None:
            raise ConfigError("SIP_OUTBOUND_PROXY: SIP over TLS needs SIP_TLS_PORT")
    return SipSettings(
        bind_ip=config.bind_ip,
        listen_ip=config.listen_ip,
        port=config.port,
        bind_ipv6=config.bind_ipv6,
        listen_ipv6=config.listen_ipv6,
        external_ip=config.external_ip,
        tls=_tls(config),
        tls_port=config.tls_port or 0,
        outbound_proxy=config.outbound_proxy,
        debug=config.debug,
        agent=AgentSettings(
            tcp_enabled=config.tcp_enabled,
            domain=config.domain or None,
            product=config.host,
            use_source_socket=config.use_source_socket,
            accept_info=config.dtmf_info,
            session_expires_s=config.session_expires_s,
            refer_consult_s=decision_time_s(config),
        ),
    )


def _tls(config: SipConfig) -> Tls | None:
    if config.tls_port is None:
        return None
    return load_tls(
        config.tls_cert,
        config.tls_key,
        ca_file=config.tls_ca_file,
        verify=not config.tls_insecure_skip_verify,
    )


def _shown(transport: str, host: str, port: int) -> str:
    return f"{transport}:[{host}]:{port}" if ":" in host else f"{transport}:{host}:{port}"
