"""Putting an engine together from its settings."""

from __future__ import annotations

from functools import partial

import httpx
import structlog
import trio

from vb.calls.inbound import accept_call, refusal
from vb.calls.transfer import decision_time_s, transfer_policy
from vb.codecs.base import Codec, find_codec
from vb.codecs.opus import opus_available
from vb.config import Config, SipConfig
from vb.engine import Engine
from vb.errors import ConfigError
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable
from vb.features.playback import Players
from vb.features.recording import Recorders
from vb.features.storage import RecordingStorage
from vb.ids import SystemIds
from vb.layers import Layer
from vb.limits.allowance import Allowance
from vb.limits.destinations import Destinations
from vb.limits.rate import RateLimit
from vb.media.fetch_policy import FetchPolicy
from vb.media.tasks.blocking import ThreadRunner
from vb.media.tasks.fetch import Fetcher
from vb.metrics import Metrics
from vb.mixer.plane import Plane
from vb.mixer.port import Port
from vb.mixer.tasks import SocketIo
from vb.names import NameLookup
from vb.rtp.playout import PlayoutSettings
from vb.rtp.ports import PortPool
from vb.sip.errors import SipTargetError
from vb.sip.settings import AgentSettings
from vb.sip.target import proxy_route
from vb.sip.tasks.endpoint import SipEndpoint, SipSettings
from vb.sip.tasks.tls import Tls, load_tls
from vb.turns import Turns

log = structlog.get_logger(__name__)

DECODER_THREADS = 4
DISK_THREADS = 4


def build_engine(config: Config, http: httpx.AsyncClient, rooms: Layer, legs: trio.Nursery) -> Engine:
    """Return an engine whose parts are connected and not yet running.

    Raises:
        ConfigError: settings that cannot be used together.
    """
    ids = SystemIds()
    bus = EventBus(config.server.instance_id or ids.uuid(), ids)
    decoders, disk = ThreadRunner(DECODER_THREADS), ThreadRunner(DISK_THREADS, abandon_on_cancel=True)
    try:
        policy = FetchPolicy.parse(config.server.fetch_allow)
    except ValueError as exc:
        raise ConfigError(f"VB_FETCH_ALLOW: {exc}") from None
    hook = Hook(config.webhook.url, config.webhook.secret.get_secret_value(), trusted=True)
    plane = Plane(
        SocketIo(),
        ids,
        playout=PlayoutSettings(config.rtp.jitter_buffer_ms, config.rtp.jitter_buffer_max_ms),
        pass_through=config.rooms.pass_through,
        relearn=config.rtp.relatch,
    )
    metrics, names = Metrics(), NameLookup("requests")
    bus.subscribe(metrics.observe)
    engine = Engine(
        config=config,
        instance_id=bus.instance_id,
        bus=bus,
        hooks=HookTable(hook if config.webhook.url else None),
        metrics=metrics,
        http=http,
        names=names,
        plane=plane,
        ports=PortPool(config.rtp.port_min, config.rtp.port_max),
        codecs=enabled_codecs(config.sip),
        fetch_policy=policy,
        players=Players(ids, Fetcher(http, policy, blocking=decoders, resolve=names), decoders),
        recorders=Recorders(
            config.recording.dir, ids, disk, RecordingStorage(config.s3, policy, names=names)
        ),
        call_rate=RateLimit(config.server.max_calls_per_second),
        destinations=Destinations(config.server.dial_allow),
        allowance=Allowance(
            config.server.app_max_calls,
            config.server.app_max_calls_per_second,
            config.server.app_max_minutes,
        ),
        leg_nursery=legs,
        room_layer=rooms,
        ids=ids,
        turns=Turns(partial(metrics.recovered, "engine", "turn")),
    )
    engine.sip = SipEndpoint(sip_settings(config.sip), ids, partial(accept_call, engine))
    engine.sip.refuse_new = partial(refusal, engine)
    engine.transfers = transfer_policy(engine)
    engine.recorders.storage.uploads.on_fault = partial(metrics.recovered, "uploads", "upload")
    plane.set_fault_handlers(partial(_leg_fault, engine), _room_fault)
    return engine


def enabled_codecs(config: SipConfig) -> tuple[Codec, ...]:
    """Return the codecs that calls may use, in order of preference."""
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


def _leg_fault(engine: Engine, port: Port, error: Exception) -> None:
    """A leg's codec, source or tap failed inside the mixer: that leg ends, or the bridge that it was."""
    if engine.bridges.port_failed(port):
        log.error("bridge taken down", exc_info=error)
        return
    log.error("leg taken out of the mixer", exc_info=error)
    for leg in engine.legs:
        if leg.port is port:
            leg.hangup("mixer_panic")


def _room_fault(room_id: str, error: Exception) -> None:
    log.error("source or tap taken out of a room", room_id=room_id, exc_info=error)
