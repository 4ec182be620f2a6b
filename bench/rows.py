"""Every figure of every case as a row: the best of its runs, beside its bar and the baseline's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, TypeVar

from bench.agent_rows import AGENTS, FAULTY_AGENTS, OWN_AGENTS
from bench.cases import (
    BESIDE_CODEC,
    BINDING,
    BURST_LATENESS_MS,
    DELAY_P50_MS,
    DELAY_P95_MS,
    FIRST_AUDIO_P95_MS,
    LATE_TICKS_PERCENT,
    LATENESS_P99_MS,
    MEMORY_KB,
    SETUP_P99_MS,
    STORED_S,
    TRANSCRIBED_LATENESS_P99_MS,
    WEBRTC_LATENESS_P99_MS,
    WEBRTC_MEMORY_KB,
    AgentsCase,
    BesideCase,
    BurstCase,
    CallCase,
    Case,
    DelayCase,
    FaultyAgentsCase,
    FeaturesCase,
    HistoriesCase,
    MediaCase,
    MemoryCase,
    OwnAgentsCase,
    SignallingCase,
    SoakCase,
    SpeakersCase,
    TranscriptsCase,
    VoiceCase,
    WebRtcCase,
    WebSocketCase,
)
from bench.figures import FaultyAgentFigures, Spread
from bench.histories import most_late_ms
from bench.outcome import (
    AgentFigures,
    BesideFigures,
    BurstFigures,
    CallFigures,
    DelayFigures,
    FeatureFigures,
    Figures,
    HistoriesFigures,
    MediaFigures,
    MemoryFigures,
    Outcome,
    OwnAgentFigures,
    SignallingFigures,
    SoakFigures,
    TranscriptFigures,
    VoiceFigures,
    WebRtcFigures,
    WebSocketFigures,
    Window,
)
from bench.row import Own, Reader, Row

F = TypeVar("F")

SURROUNDINGS: Final = ("VSI clients", "generator", "load average", "time without", "bursts", "scripted calls")
"""Figures that say how the measurement went, and nothing of the server: there is no point in their ratio."""


def _of(kind: type[F], readers: Sequence[Own[F]]) -> list[Reader]:
    """Return readers of one kind of figures as readers of any, which have nothing to read in others."""

    def widened(read: Callable[[F], float | None]) -> Callable[[Figures], float | None]:
        return lambda figures: read(figures) if isinstance(figures, kind) else None

    return [(name, widened(read), bar) for name, read, bar in readers]


def _readers(case: Case) -> list[Reader]:
    match case:
        case MediaCase() | SpeakersCase():
            return _media_readers(case)
        case WebRtcCase():
            return _webrtc_readers(case)
        case DelayCase():
            return _of(DelayFigures, DELAY)
        case VoiceCase():
            return _of(VoiceFigures, KEPT_SPEECH)
        case CallCase():
            return _of(CallFigures, CALLS)
        case FeaturesCase():
            return _features_readers(case)
        case BesideCase():
            return _beside_readers(case)
        case WebSocketCase():
            return _websocket_readers(case)
        case TranscriptsCase():
            return _transcript_readers(case)
        case AgentsCase():
            return _of(AgentFigures, AGENTS)
        case OwnAgentsCase():
            return _of(OwnAgentFigures, OWN_AGENTS)
        case FaultyAgentsCase():
            return _of(FaultyAgentFigures, FAULTY_AGENTS)
        case MemoryCase():
            return _memory_readers(case)
        case SoakCase():
            return _of(SoakFigures, SOAK)
        case SignallingCase():
            return _of(SignallingFigures, SIGNALLING)
        case HistoriesCase():
            return _of(HistoriesFigures, HISTORIES)
        case BurstCase():
            return _of(BurstFigures, BURST)


def _window_cost(bar_us: float | None) -> list[Own[Window]]:
    return [
        ("CPU, µs per leg and tick", lambda w: w.cpu_us, bar_us),
        ("time without a core, % of the window", lambda w: w.core_wait_percent, None),
        ("tick lateness at listeners p50, ms", lambda w: w.egress.p50_ms, None),
        ("tick lateness at listeners p99, ms", lambda w: w.egress.p99_ms, LATENESS_P99_MS),
        ("tick lateness at listeners max, ms", lambda w: w.egress.max_ms, None),
        ("ticks over 5 ms late by the server, %", lambda w: w.late_percent, LATE_TICKS_PERCENT),
    ]


SURROUNDING: Final[Sequence[Own[Window]]] = (
    ("generator lateness p99, ms", lambda w: w.load.p99_ms, None),
    ("generator lateness max, ms", lambda w: w.load.max_ms, None),
    ("generator, share of a core", lambda w: w.load.cpu_share, None),
    ("load average of the machine", lambda w: w.load_average, None),
)

Plane = MediaFigures | FeatureFigures


def _of_window(readers: Sequence[Own[Window]]) -> list[Reader]:
    def widened(read: Callable[[Window], float | None]) -> Callable[[Figures], float | None]:
        return lambda figures: read(figures.window) if isinstance(figures, Plane) else None

    return [(name, widened(read), bar) for name, read, bar in readers]


def _of_plane(memory_kb: float = MEMORY_KB) -> list[Reader]:
    def lateness(field: Callable[[Spread], float]) -> Callable[[Figures], float | None]:
        def read(figures: Figures) -> float | None:
            return field(figures.lateness) if isinstance(figures, Plane) and figures.lateness else None

        return read

    def read(field: Callable[[Plane], float]) -> Callable[[Figures], float | None]:
        return lambda figures: field(figures) if isinstance(figures, Plane) else None

    return [
        ("… p50 with set-up, ms", lateness(lambda s: s.p50_ms), None),
        ("… p99 with set-up, ms", lateness(lambda s: s.p99_ms), None),
        ("… max with set-up, ms", lateness(lambda s: s.max_ms), None),
        ("memory per leg, kB", read(lambda f: f.memory_kb), memory_kb),
        ("packets lost on the way in", read(lambda f: float(f.lost_in)), 0.0),
        ("packets lost on the way out", read(lambda f: float(f.lost_out)), 0.0),
    ]


def _media_readers(case: MediaCase | SpeakersCase) -> list[Reader]:
    return [
        *_of_window(_window_cost(case.bar_us)),
        *_of_plane(),
        *_of(MediaFigures, [("loudest of those not to be heard, share", lambda f: f.loudest_other, None)]),
        *_of_window(SURROUNDING),
    ]


STAGES: Final = {
    "socket": "socket",
    "srtp": "SRTP",
    "receive": "headers, jitter, G.711 to samples",
    "decode": "decode",
    "play": "play-out",
    "mix": "mix",
    "encode": "encode",
    "packets": "headers, samples to G.711",
    "tick": "the rest of a tick",
}
"""What each stage of a tick is called where it is printed."""


def stage_lines(figures: WebRtcFigures) -> list[str]:
    """Return a table of where the time goes, browsers beside phones."""
    columns = [figures.stages, *([] if figures.phones is None else [figures.phones])]
    names = ("browser", "phone")
    lines = [f"  {'µs per leg and tick':<40}" + "".join(f"{name:>12}" for name in names[: len(columns)])]
    for stage, name in STAGES.items():
        lines.append(f"  {name:<40}" + "".join(f"{each.of_it_us.get(stage, 0.0):>12.2f}" for each in columns))
    rest = [each.cpu_us - sum(each.of_it_us.values()) for each in columns]
    lines.append(f"  {'outside of ticks, and other threads':<40}" + "".join(f"{us:>12.2f}" for us in rest))
    return [*lines, f"  {'all of the process':<40}" + "".join(f"{each.cpu_us:>12.2f}" for each in columns)]


def _beside_codec(figures: WebRtcFigures) -> float | None:
    phones = figures.phones
    return None if phones is None else figures.stages.beside_codec_us / phones.cpu_us


def _webrtc_readers(case: WebRtcCase) -> list[Reader]:
    """Return what is read of browsers, whose generator has no kernel time stamps.

    Where the load shares the server's cores, how late ticks are is its doing: there is no bar for it.
    """
    alone = case.cores == 1
    cost = [
        (name, read, bar if alone else None)
        for name, read, bar in _window_cost(case.bar_us)
        if "at listeners" not in name
    ]
    own: list[Own[WebRtcFigures]] = [
        ("cores for every tick to be played", lambda f: f.stages.cores, float(case.cores)),
        ("ticks that were left out, %", lambda f: f.stages.left_out_percent, None),
        ("tick lateness in the window p99, ms", lambda f: f.stages.late.p99_ms, WEBRTC_LATENESS_P99_MS),
        ("beside the codec, µs per leg and tick", lambda f: f.stages.beside_codec_us, None),
        ("… over a phone in the same rooms", _beside_codec, BESIDE_CODEC),
    ]
    if not alone:
        own[2] = (*own[2][:2], None)
    return [
        *_of_window(cost),
        *_of(WebRtcFigures, own if case.phones else own[:4]),
        *_of_plane(WEBRTC_MEMORY_KB),
        *_of(MediaFigures, [("loudest of those not to be heard, share", lambda f: f.loudest_other, None)]),
        *_of_window(SURROUNDING),
    ]


def _features_readers(case: FeaturesCase) -> list[Reader]:
    own: list[Own[FeatureFigures]] = [
        ("recordings that are not whole", lambda f: float(f.recordings - f.recordings_whole), 0.0),
        ("bursts in recordings", lambda f: float(f.recorded_bursts), None),
        ("recorded later than sent p50, ms", lambda f: f.recorded_offset.p50_ms, None),
        ("recorded later than sent max, ms", lambda f: f.recorded_offset.max_ms, None),
        ("speaking events expected", lambda f: float(f.speech_expected), None),
        ("speaking events too many or too few", lambda f: float(abs(f.speech_told - f.speech_expected)), 0.0),
        ("speech told after p50, ms", lambda f: f.speech_delay.p50_ms, None),
        ("speech told after p99, ms", lambda f: f.speech_delay.p99_ms, None),
    ]
    return [
        *_of_window(_window_cost(case.bar_us)),
        *_of_plane(),
        *_of(FeatureFigures, own),
        *_of_window(SURROUNDING),
    ]


def _beside_readers(case: BesideCase) -> list[Reader]:
    ratio = f"a {case.kind} leg over a browser's"
    own: list[Own[BesideFigures]] = [
        ("CPU, µs per leg and tick", lambda f: f.cpu_us, None),
        ("CPU of a browser's leg, µs", lambda f: f.webrtc_us, None),
        (ratio, lambda f: f.cpu_us / f.webrtc_us if f.webrtc_us else None, case.bar),
        ("ticks that were left out, %", lambda f: f.left_out_percent, None),
        ("CPU of the callers, share of a core", lambda f: f.load_cpu, None),
        ("lateness of the callers p99, ms", lambda f: f.load_lateness.p99_ms, None),
        ("load average of the machine", lambda f: f.load_average, None),
    ]
    return _of(BesideFigures, own)


def _websocket_readers(case: WebSocketCase) -> list[Reader]:
    own: list[Own[WebSocketFigures]] = [
        ("CPU, µs per leg for a frame each way", lambda f: f.cpu_us, case.bar_us),
        ("CPU of a phone in the same rooms, µs", lambda f: f.phone_us, None),
        ("a program over a phone", lambda f: f.cpu_us / f.phone_us if f.phone_us else None, None),
        ("frames that were not heard", lambda f: float(f.frames_missing), None),
        ("between two frames p99, ms", lambda f: f.frame_gap.p99_ms, None),
        ("load average of the machine", lambda f: f.load_average, None),
    ]
    return _of(WebSocketFigures, own)


def _transcript_readers(case: TranscriptsCase) -> list[Reader]:
    def late(read: Callable[[Spread], float]) -> Callable[[TranscriptFigures], float | None]:
        return lambda f: None if f.lateness is None else read(f.lateness)

    def window(read: Callable[[Window], float | None]) -> Callable[[TranscriptFigures], float | None]:
        return lambda f: read(f.window)

    own: list[Own[TranscriptFigures]] = [
        ("CPU, µs per leg and tick", window(lambda w: w.cpu_us), case.bar_us),
        ("the same before they began, µs", lambda f: f.plain_us, None),
        ("time without a core, % of the window", window(lambda w: w.core_wait_percent), None),
        (
            "tick lateness at listeners p99, ms",
            window(lambda w: w.egress.p99_ms),
            TRANSCRIBED_LATENESS_P99_MS,
        ),
        ("tick lateness of the server p99, ms", late(lambda s: s.p99_ms), TRANSCRIBED_LATENESS_P99_MS),
        ("tick lateness of the server max, ms", late(lambda s: s.max_ms), None),
        ("messages of audio a second", lambda f: f.messages_per_s, None),
        ("frames that were given up", lambda f: float(f.frames_dropped), 0.0),
        ("texts that were told", lambda f: float(f.texts), None),
        ("generator lateness p99, ms", window(lambda w: w.load.p99_ms), None),
        ("load average of the machine", window(lambda w: w.load_average), None),
    ]
    return _of(TranscriptFigures, own)


def _memory_readers(case: MemoryCase) -> list[Reader]:
    own: list[Own[MemoryFigures]] = [
        ("calls that went wrong", lambda f: float(f.offered - f.calls), 0.0),
        ("INVITE to 200 p99, ms", lambda f: f.setup.p99_ms, SETUP_P99_MS),
        ("packets lost on the way in", lambda f: float(f.lost_in), 0.0),
        ("packets lost on the way out", lambda f: float(f.lost_out), 0.0),
        ("things left over: tasks, files, ports, …", lambda f: float(f.left), 0.0),
        ("idle memory before the first call, MB", lambda f: f.idle.rss_kb / 1000, None),
        ("idle memory after the warm-up, MB", lambda f: f.warm.rss_kb / 1000, None),
        ("idle memory after the last call, MB", lambda f: f.over.rss_kb / 1000, None),
        ("growth after the warm-up, kB per call", lambda f: f.growth_kb, case.bar_kb),
    ]
    return _of(MemoryFigures, own)


DELAY: Final[Sequence[Own[DelayFigures]]] = (
    ("delay p50, ms", lambda f: f.delay.p50_ms, DELAY_P50_MS),
    ("delay p95, ms", lambda f: f.delay.p95_ms, DELAY_P95_MS),
    ("delay max, ms", lambda f: f.delay.max_ms, None),
    ("bursts", lambda f: float(f.bursts), None),
    ("broken bursts", lambda f: float(f.broken), 0.0),
    ("generator lateness p99, ms", lambda f: f.load.p99_ms, None),
)

KEPT_SPEECH: Final[Sequence[Own[VoiceFigures]]] = (
    ("request to first audio p50, ms", lambda f: f.first_audio.p50_ms, None),
    ("request to first audio p95, ms", lambda f: f.first_audio.p95_ms, FIRST_AUDIO_P95_MS),
    ("request to first audio max, ms", lambda f: f.first_audio.max_ms, None),
    ("utterances", lambda f: float(f.said), None),
    ("utterances that were not heard whole", lambda f: float(f.broken), 0.0),
    ("questions to the provider", lambda f: float(f.asked), 1.0),
)

CALLS: Final[Sequence[Own[CallFigures]]] = (
    ("INVITE to 200 p50, ms", lambda f: f.setup.p50_ms, None),
    ("INVITE to 200 p99, ms", lambda f: f.setup.p99_ms, SETUP_P99_MS),
    ("INVITE to 200 max, ms", lambda f: f.setup.max_ms, None),
    ("calls not answered", lambda f: float(f.offered - f.answered), 0.0),
    ("VSI events dropped by the server", lambda f: float(f.events_dropped), 0.0),
    ("VSI events lost, all clients", lambda f: float(f.events_lost), 0.0),
    ("VSI clients that read all", lambda f: float(f.clients), None),
    ("SIP requests sent again", lambda f: float(f.resent), None),
    ("server CPU per call with its media, ms", lambda f: f.cpu_ms, None),
    ("generator lateness p99, ms", lambda f: f.load.p99_ms, None),
)


def _more_late(figures: BurstFigures) -> float:
    return figures.egress.max_ms - figures.ordinary.max_ms


BURST: Final[Sequence[Own[BurstFigures]]] = (
    ("events", lambda f: float(f.events), None),
    ("until the last event, s", lambda f: f.took_s, None),
    ("events lost, all clients together", lambda f: float(f.events_lost), 0.0),
    ("events that the webhook missed", lambda f: float(f.webhooks_lost), 0.0),
    ("events that the client who did not read got", lambda f: float(f.unread), None),
    ("events that it was told it missed", lambda f: float(f.unread_told), None),
    ("tick lateness before the burst max, ms", lambda f: f.ordinary.max_ms, None),
    ("tick lateness in the burst p99, ms", lambda f: f.egress.p99_ms, None),
    ("tick lateness in the burst max, ms", lambda f: f.egress.max_ms, None),
    ("the same beyond what it was before, ms", _more_late, BURST_LATENESS_MS),
    ("server CPU per call that ended, ms", lambda f: f.cpu_ms, None),
    ("generator lateness max, ms", lambda f: f.load.max_ms, None),
)

SOAK: Final[Sequence[Own[SoakFigures]]] = (
    ("scripted calls", lambda f: float(f.calls), None),
    ("calls that failed", lambda f: float(f.failed), 0.0),
    ("calls told otherwise than scripted", lambda f: float(f.astray), 0.0),
    ("VSI events dropped", lambda f: float(f.events_dropped), 0.0),
    ("packets lost on the way out", lambda f: float(f.lost_out), 0.0),
    ("figures that drift", lambda f: float(sum(not t.is_steady for t in f.trends.values())), 0.0),
)


SIGNALLING: Final[Sequence[Own[SignallingFigures]]] = (
    ("server CPU per call, µs", lambda f: f.cpu_us, None),
    ("INVITE to 200 p50, ms", lambda f: f.setup.p50_ms, None),
    ("INVITE to 200 p99, ms", lambda f: f.setup.p99_ms, SETUP_P99_MS),
    ("INVITE to 200 max, ms", lambda f: f.setup.max_ms, None),
    ("calls not answered and ended", lambda f: float(f.offered - f.answered), 0.0),
    ("VSI events lost", lambda f: float(f.events_lost), 0.0),
    ("SIP requests sent again", lambda f: float(f.resent), None),
    ("ticks over 5 ms late by the server, %", lambda f: f.late_percent, None),
    ("the last call is stored after, s", lambda f: f.stored_s, STORED_S),
    ("time without a core, % of the window", lambda f: f.core_wait_percent, None),
    ("generator lateness p99, ms", lambda f: f.load.p99_ms, None),
    ("generator, share of a core", lambda f: f.load.cpu_share, None),
)


def _late_of(kind: str) -> Callable[[HistoriesFigures], float | None]:
    return lambda figures: median(figures.late_p99_ms[kind]) if figures.late_p99_ms.get(kind) else None


def _stored_of(kind: str) -> Callable[[HistoriesFigures], float | None]:
    return lambda figures: max(figures.stored_s.get(kind, ()), default=None)


HISTORIES: Final[Sequence[Own[HistoriesFigures]]] = (
    ("ticks late p99 without a history, ms", _late_of(""), None),
    ("ticks late p99 with SQLite, ms", _late_of("sqlite"), None),
    ("ticks late p99 with PostgreSQL, ms", _late_of("postgresql"), None),
    ("most that both may be late by, ms", lambda f: most_late_ms(f.late_p99_ms.get("", ())), None),
    ("SQLite has the last call after, s", _stored_of("sqlite"), STORED_S),
    ("PostgreSQL has the last call after, s", _stored_of("postgresql"), STORED_S),
    ("time without a core, % of the window", lambda f: f.core_wait_percent, None),
)


def _best(runs: Sequence[Outcome], read: Callable[[Figures], float | None]) -> float | None:
    values = [value for value in (read(run.figures) for run in runs) if value is not None]
    return min(values, default=None)


def missed_bars(case: Case, runs: Sequence[Outcome]) -> list[str]:
    """Return the figures over their bars of a case for which bars bind."""
    if not isinstance(case, BINDING):
        return []
    return [
        f"{case.name}: {row.name} is {row.value:.2f}, the bar is {row.bar:g}"
        for row in rows_of(case, runs)
        if row.bar is not None and row.value is not None and not row.value <= row.bar
    ]


def rows_of(case: Case, runs: Sequence[Outcome], baseline: Sequence[Outcome] = ()) -> list[Row]:
    """Return every figure of a case, the best of its runs."""
    return [
        Row(name, _best(runs, read), bar, None if name.startswith(SURROUNDINGS) else _best(baseline, read))
        for name, read, bar in _readers(case)
    ]
