"""Putting an engine together from its settings."""

from __future__ import annotations

import datetime
import random
import secrets
from functools import partial

import structlog
import trio

from vb.agents.agents import Agents
from vb.blocking import ThreadRunner
from vb.codecs.complexity import Complexity
from vb.config import Config
from vb.engine import Engine
from vb.errors import ConfigError
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable
from vb.history.tasks import History
from vb.ids import SystemIds
from vb.layers import Layer
from vb.legs.registry import Legs
from vb.lifetime import Lifetime
from vb.limits.allowance import Allowance
from vb.local_speech.tasks.build import build_local_speech
from vb.local_speech.tasks.speech import LocalSpeech
from vb.metrics import Metrics
from vb.mixer.plane import Plane
from vb.mixer.port import Port
from vb.mixer.tasks import SocketIo
from vb.moqleg.kind import MoqLegs
from vb.name_servers import NameServers
from vb.names import NameLookup
from vb.playback.players import Players
from vb.playback.tasks.fetch import Fetcher
from vb.recording.recorders import Recorders
from vb.recording.storage import RecordingStorage
from vb.rooms.bridges import Bridges
from vb.rooms.registry import Rooms
from vb.rtcleg.kind import RtcLegs
from vb.rtp.playout import PlayoutSettings
from vb.rtp.ports import PortPool
from vb.self_signed import SERIAL_BITS
from vb.sipleg.kind import SipLegs
from vb.stt.local import LocalTranscripts
from vb.stt.tasks.providers import transcript_providers
from vb.stt.tasks.transcripts import Transcripts
from vb.tts.local import LocalVoices
from vb.tts.tasks.cache import SpeechCache
from vb.tts.tasks.catalog import asked_providers
from vb.tts.tasks.voices import StagingLimits, Voices
from vb.waleg.kind import WhatsAppLegs
from vb.web.policy import FetchPolicy
from vb.web.tasks.client import WebClient
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.wsleg.kind import WebSocketLegs

log = structlog.get_logger(__name__)

DECODER_THREADS = 4
DISK_THREADS = 4
OWN_LOOKUPS = 4


def build_web(config: Config) -> WebClient:
    """Return the way out to other servers.

    Raises:
        ConfigError: its policy cannot be read.
    """
    try:
        policy = FetchPolicy.parse(config.server.fetch_allow)
    except ValueError as exc:
        raise ConfigError(f"VB_FETCH_ALLOW: {exc}") from None
    servers = NameServers(config.server.dns_servers)
    names = NameLookup("requests", lookup=servers.look_up)
    own_names = NameLookup("operator", at_once=OWN_LOOKUPS, lookup=servers.look_up)
    return WebClient(Guard(policy, names, own_names), Dialer(), user_agent=config.sip.host)


def build_voices(
    config: Config,
    web: WebClient,
    players: Players,
    ids: SystemIds,
    disk: ThreadRunner,
    local_speech: LocalSpeech,
) -> Voices:
    """Return what speaks on legs and in rooms.

    Raises:
        ConfigError: the folder for kept speech cannot be used.
    """
    settings, cache = config.voices, None
    if settings.cache:
        cache = SpeechCache(
            settings.cache_dir,
            settings.cache_max_mb * 1024 * 1024,
            with_api_key=settings.cache_by_key,
            disk=disk,
            ids=ids,
        )
    local = LocalVoices(local_speech)
    return Voices(
        {**asked_providers(config, web, disk, random.random), local.name: local},
        ids=ids,
        players=players,
        cache=cache,
        limits=StagingLimits(settings.preflight_ttl_s, settings.preflight_max, settings.preflight_max_bytes),
    )


def build_bus(config: Config) -> EventBus:
    """Return where a server's events are published."""
    ids = SystemIds()
    return EventBus(config.server.instance_id or ids.uuid(), ids)


def build_engine(
    config: Config,
    web: WebClient,
    rooms: Layer,
    legs: trio.Nursery,
    *,
    bus: EventBus | None = None,
    history: History | None = None,
    sockets: SocketIo | None = None,
) -> Engine:
    """Return an engine whose parts are connected and not yet running.

    Args:
        config: its settings.
        web: the way out to other servers.
        rooms: where rooms live.
        legs: where legs live.
        bus: where events are published; a new one when None.
        history: of calls, on the same bus; None for none.
        sockets: the plane's way to the network, which the caller closes; new ones when None.

    Raises:
        ConfigError: settings that cannot be used together.
    """
    ids = SystemIds()
    bus = bus or build_bus(config)
    decoders, disk = ThreadRunner(DECODER_THREADS), ThreadRunner(DISK_THREADS, abandon_on_cancel=True)
    hook = Hook(config.webhook.url, config.webhook.secret.get_secret_value(), trusted=True)
    hooks = HookTable(hook if config.webhook.url else None)
    plane = Plane(
        sockets or SocketIo(),
        ids,
        playout=PlayoutSettings(config.rtp.jitter_buffer_ms, config.rtp.jitter_buffer_max_ms),
        pass_through=config.rooms.pass_through,
        relearn=config.rtp.relatch,
        complexity=Complexity(config.rooms.opus_complexity),
    )
    players = Players(ids, Fetcher(web, blocking=decoders), decoders)
    metrics, life, bridges = Metrics(), Lifetime(), Bridges()
    local_speech = build_local_speech(config.local_speech)
    agents = Agents(ids, web, plane, local_speech)
    agents.watching.on_fault = partial(metrics.recovered, "agents", "ear")
    bus.subscribe(metrics.observe)
    engine = Engine(
        config=config,
        bus=bus,
        hooks=hooks,
        metrics=metrics,
        ids=ids,
        life=life,
        web=web,
        look_up=NameServers(config.server.dns_servers).look_up,
        plane=plane,
        ports=PortPool(config.rtp.port_min, config.rtp.port_max),
        players=players,
        voices=build_voices(config, web, players, ids, disk, local_speech),
        recorders=Recorders(
            config.recording.dir,
            ids,
            disk,
            RecordingStorage(config.s3, web, on_fault=partial(metrics.recovered, "uploads", "upload")),
        ),
        agents=agents,
        local_speech=local_speech,
        transcripts=Transcripts([*transcript_providers(config, web), LocalTranscripts(local_speech)]),
        legs=Legs(
            bus=bus,
            hooks=hooks,
            metrics=metrics,
            life=life,
            nursery=legs,
            cap=config.server.max_legs,
            calls_per_second=config.server.max_calls_per_second,
            allowance=Allowance(
                config.server.app_max_calls,
                config.server.app_max_calls_per_second,
                config.server.app_max_minutes,
            ),
            on_admitted=history.meet if history is not None else None,
        ),
        rooms=Rooms(
            bus=bus,
            hooks=hooks,
            metrics=metrics,
            plane=plane,
            life=life,
            layer=rooms,
            ids=ids,
            bridges=bridges,
            sample_rate_hz=config.rooms.default_sample_rate,
            comfort_noise=config.rooms.comfort_noise,
        ),
        bridges=bridges,
        dtls=_new_dtls(),
        history=history,
    )
    metrics.add_source(engine.local_speech.readings)
    metrics.add_source(engine.transcripts.readings)
    if history is not None:
        _connect_history(engine, history)
    metrics.add_source(agents.readings)
    _add_kinds(engine)
    return engine


def _connect_history(engine: Engine, history: History) -> None:
    """Let the history follow recordings into buckets, and see the legs that there are."""
    engine.metrics.add_source(history.readings)
    storage = engine.recorders.storage
    history.delete_stored, history.find_stored = storage.delete, storage.find
    storage.on_upload = history.uploading
    history.live_legs = lambda: engine.legs


def _add_kinds(engine: Engine) -> None:
    """Register every kind of leg, and what becomes of one that fails inside the plane."""
    sip, rtc, websockets = SipLegs(engine), RtcLegs(engine), WebSocketLegs(engine)
    for kind in (sip, rtc, WhatsAppLegs(engine, sip, rtc), websockets, MoqLegs(engine)):
        engine.add_kind(kind)
    engine.plane.set_fault_handlers(partial(_leg_fault, engine, websockets), _room_fault)


def _new_dtls() -> DtlsContext:
    """Make the certificate of this server, which lives as long as it."""
    return DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), secrets.randbits(SERIAL_BITS) + 1))


def _leg_fault(engine: Engine, websockets: WebSocketLegs, port: Port, error: Exception) -> None:
    """A leg's codec, source or tap failed inside the mixer: that leg ends, or the bridge or listener."""
    if engine.bridges.port_failed(port):
        log.error("bridge taken down", exc_info=error)
        return
    if engine.agents.port_failed(port):
        log.error("agent taken out of the mixer", exc_info=error)
        return
    if websockets.port_failed(port):
        log.error("listener taken out of the mixer", exc_info=error)
        return
    log.error("leg taken out of the mixer", exc_info=error)
    for leg in engine.legs:
        if leg.port is port:
            leg.hangup("mixer_panic")


def _room_fault(room_id: str, error: Exception) -> None:
    log.error("source or tap taken out of a room", room_id=room_id, exc_info=error)
