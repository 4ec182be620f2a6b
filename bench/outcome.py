"""What a run of a case returns: its figures, and what was not as it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.figures import FaultyAgentFigures, Spread
from bench.generator import LoadLateness
from bench.trend import Trend


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Attributes:
        window_s: length of the steady window.
        realtime: run server and generator before everything else on their cores.
        profile: where the server's profile goes; None without a profile.
    """

    window_s: float = 10.0
    realtime: bool = False
    profile: Path | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What a steady window shows.

    Attributes:
        cpu_us: CPU of the whole server process per leg and tick.
        core_wait_percent: of the window, in which the server could have run but had no core: others' doing.
        load: the generator's own lateness.
        egress: how late the server's packets came to ten listeners.
        late_percent: ticks that the server itself calls late, None when it does not say.
        load_average: of the machine: much above 2 means that others were at work.
    """

    cpu_us: float
    core_wait_percent: float
    load: LoadLateness
    egress: Spread
    late_percent: float | None
    load_average: float


@dataclass(frozen=True, slots=True)
class MediaFigures:
    """What a media case shows.

    Attributes:
        window: the steady window.
        lateness: of the server's ticks in the last minute with all its set-up, None when it does not say.
        memory_kb: resident memory per leg above the idle server.
        lost_in: packets sent by the generator that the server did not count.
        lost_out: packets that the generator missed.
        weakest_mate: lowest level at which a room mate was heard, as a share of what was sent.
        loudest_other: highest level of anybody else.
    """

    window: Window
    lateness: Spread | None
    memory_kb: float
    lost_in: int
    lost_out: int
    weakest_mate: float
    loudest_other: float


@dataclass(frozen=True, slots=True)
class Stages:
    """Where the time of a window goes.

    Attributes:
        cpu_us: CPU of the whole server process per leg and tick that was played.
        of_it_us: of that, what each stage of the ticks cost the main thread.
        late: how late the ticks of the window were.
        left_out_percent: ticks that were skipped because it had come too late for them.
        cores: that it needs to play all ticks.
    """

    cpu_us: float
    of_it_us: Mapping[str, float]
    late: Spread
    left_out_percent: float
    cores: float

    @property
    def beside_codec_us(self) -> float:
        """What a leg costs without its codec."""
        return self.cpu_us - self.of_it_us.get("decode", 0.0) - self.of_it_us.get("encode", 0.0)


@dataclass(frozen=True, slots=True)
class WebRtcFigures(MediaFigures):
    """What a case of browsers shows.

    Attributes:
        stages: of the steady window in which they were counted.
        tick_us: CPU of the whole server process per leg and tick that was played, while nothing was counted.
        phones: stages of as many phones in the same rooms, where they were called.
    """

    stages: Stages
    tick_us: float
    phones: Stages | None = None


@dataclass(frozen=True, slots=True)
class DelayFigures:
    """What the delay case shows."""

    delay: Spread
    bursts: int
    broken: int
    load: LoadLateness


@dataclass(frozen=True, slots=True)
class VoiceFigures:
    """What the case of kept speech shows.

    Attributes:
        first_audio: from the request to the first audio on the wire.
        said: utterances.
        broken: of them, not heard whole.
        asked: questions to the provider.
    """

    first_audio: Spread
    said: int
    broken: int
    asked: int


@dataclass(frozen=True, slots=True)
class CallFigures:
    """What the call case shows.

    Attributes:
        setup: from INVITE to 200.
        offered: calls.
        answered: of them.
        resent: SIP requests.
        events_dropped: as the server says.
        events_lost: by what each client was told, all clients together.
        clients: how many read all events.
        cpu_ms: of the server, per call with all its media.
        load: the generator's own lateness.
    """

    setup: Spread
    offered: int
    answered: int
    resent: int
    events_dropped: int
    events_lost: int
    clients: int
    cpu_ms: float
    load: LoadLateness


@dataclass(frozen=True, slots=True)
class BurstFigures:
    """What a burst of ends shows.

    Attributes:
        events: that it caused.
        took_s: until the last of them came.
        events_lost: by what each client was told, all clients together.
        webhooks_lost: events that the receiver of webhooks did not get.
        unread: events that the client who did not read got at last.
        unread_told: events that it was told it missed.
        ordinary: how late the server's packets came to the legs with audio before the burst.
        egress: the same during the burst.
        cpu_ms: of the server, per call that ended.
        load: the generator's own lateness.
    """

    events: int
    took_s: float
    events_lost: int
    webhooks_lost: int
    unread: int
    unread_told: int
    ordinary: Spread
    egress: Spread
    cpu_ms: float
    load: LoadLateness


@dataclass(frozen=True, slots=True)
class Sample:
    """A soak at one moment; lateness is that of the last minute, CPU that since the sample before."""

    at_s: float
    rss_mb: float
    open_files: int
    tasks: int
    legs: int
    transactions: int
    cpu_percent: float
    lateness_p99_ms: float
    lateness_max_ms: float
    calls: int


@dataclass(frozen=True, slots=True)
class SoakFigures:
    """What a soak shows.

    Attributes:
        samples: all of them.
        trends: where each figure of the samples went.
        calls: short calls that ended.
        failed: of them, those that were never up.
        astray: of them, those that were told otherwise than their script has it.
        events_dropped: as the server says.
        lost_out: packets that callers missed.
    """

    samples: tuple[Sample, ...]
    trends: Mapping[str, Trend]
    calls: int
    failed: int
    astray: int
    events_dropped: int
    lost_out: int


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """What a case with speaking detection and recordings shows.

    Attributes:
        window: the steady window.
        lateness: of the server's ticks in the last minute with all its set-up, None when it does not say.
        memory_kb: resident memory per leg above the idle server.
        lost_in: packets sent by the generator that the server did not count.
        lost_out: packets that the generator missed.
        recordings: how many were asked for.
        recordings_whole: of them, those in which nothing is wrong.
        recorded_bursts: bursts found in them, both channels together.
        recorded_offset: how much later than it was sent each of them lies in its file.
        speech_expected: speaking events that the sent bursts must cause.
        speech_told: speaking events that came.
        speech_delay: from the first packet of a burst to its speaking.started.
    """

    window: Window
    lateness: Spread | None
    memory_kb: float
    lost_in: int
    lost_out: int
    recordings: int
    recordings_whole: int
    recorded_bursts: int
    recorded_offset: Spread
    speech_expected: int
    speech_told: int
    speech_delay: Spread


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server holds at one moment.

    Attributes:
        tasks: of its event loop.
        open_files: sockets and files.
        port_pairs: left in the pool.
        media_ports: places taken in the media plane.
        dialogs: SIP calls that are not closed.
        transactions: lingering ones included.
        legs: as clients see them.
        rooms: as clients see them.
        rss_kb: resident memory.
    """

    tasks: int
    open_files: int
    port_pairs: int
    media_ports: int
    dialogs: int
    transactions: int
    legs: int
    rooms: int
    rss_kb: float


@dataclass(frozen=True, slots=True)
class WebSocketFigures:
    """What programs on WebSockets cost beside phones.

    Attributes:
        cpu_us: CPU of the server for a frame each way of one program.
        phone_us: the same for a leg of G.711 in the same rooms.
        frames_missing: of those that the programs should have heard.
        frame_gap: time between two frames at the programs.
        load_average: of the machine.
    """

    cpu_us: float
    phone_us: float
    frames_missing: int
    frame_gap: Spread
    load_average: float


@dataclass(frozen=True, slots=True)
class BesideFigures:
    """What callers of another kind cost beside browsers.

    Attributes:
        cpu_us: CPU of the server for each of their legs and each tick that was played.
        webrtc_us: the same for a leg of a browser.
        left_out_percent: ticks that were due and not played, of whichever kind had more of them.
        load_cpu: share of a core that the callers took themselves.
        load_lateness: how far they were behind their own grid.
        load_average: of the machine.
    """

    cpu_us: float
    webrtc_us: float
    left_out_percent: float
    load_cpu: float
    load_lateness: Spread
    load_average: float


@dataclass(frozen=True, slots=True)
class TranscriptFigures:
    """What transcriptions of all legs cost.

    Attributes:
        window: the steady window with them.
        lateness: of the server's ticks in the last minute with their begin, None when it does not say.
        plain_us: CPU per leg and tick before they began.
        messages_per_s: of audio to the service, all legs together.
        frames_dropped: audio that was given up.
        texts: that were told.
    """

    window: Window
    lateness: Spread | None
    plain_us: float
    messages_per_s: float
    frames_dropped: int
    texts: int


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """What agents that run elsewhere show.

    Attributes:
        window: the steady window with them.
        lateness: of the server's ticks in the last minute, None when it does not say.
        silenced: from a partner's word that it is interrupted to the last of it at the caller.
        messages_per_s: of audio to the partners, all together.
        partners_late_ms: most by which the partners were late themselves.
    """

    window: Window
    lateness: Spread | None
    silenced: Spread
    messages_per_s: float
    partners_late_ms: float


@dataclass(frozen=True, slots=True)
class OwnAgentFigures:
    """What agents of the server's own show.

    Attributes:
        window: the steady window with them.
        lateness: of the server's ticks in the last minute, None when it does not say.
        server_share: of the time from the caller's last word to the answer's first, what is the server's.
        ducked: from the first packet of a caller who interrupts to the last of the agent.
        steps_ms: the medians of what the server itself tells of its share, by step.
        answers: how many were timed.
        partners_late_ms: most by which the partners were late themselves.
        partners_late_p95_ms: so much or less in all but one case of twenty.
    """

    window: Window
    lateness: Spread | None
    server_share: Spread
    ducked: Spread
    steps_ms: Mapping[str, float]
    answers: int
    partners_late_ms: float
    partners_late_p95_ms: float


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """What is left of many short calls.

    Attributes:
        calls: how many ended as they should.
        offered: how many were to come.
        setup: from INVITE to 200.
        idle: before the first call.
        warm: after the warm-up, idle again.
        over: after the last call, idle again.
        growth_kb: of the resident memory from `warm` to `over`, for each call between them.
        left: things that are there after the last call and were not before the first, memory aside.
        lost_in: packets sent by the generator that the server did not count.
        lost_out: packets that the generator missed.
    """

    calls: int
    offered: int
    setup: Spread
    idle: Standing
    warm: Standing
    over: Standing
    growth_kb: float
    left: int
    lost_in: int
    lost_out: int


@dataclass(frozen=True, slots=True)
class SignallingFigures:
    """What calls without audio show.

    Attributes:
        cpu_us: CPU of the whole server process per call that was answered and ended.
        setup: from INVITE to 200.
        offered: calls.
        answered: of them, those that were answered and ended.
        resent: SIP requests.
        events_lost: by what the client was told.
        core_wait_percent: of the time, in which the server could have run but had no core: others' doing.
        load: the generator's own lateness.
        late_percent: ticks that the server itself calls late, None when it does not say.
        stored_s: from the end of the last call until the history had all of them; None without a history.
        lateness: of ticks, as the server tells it of its last minute, None when it does not say.
    """

    cpu_us: float
    setup: Spread
    offered: int
    answered: int
    resent: int
    events_lost: int
    core_wait_percent: float
    load: LoadLateness
    late_percent: float | None = None
    stored_s: float | None = None
    lateness: Spread | None = None


@dataclass(frozen=True, slots=True)
class HistoriesFigures:
    """What a history costs the ticks, and how soon it has all calls: a figure for each round.

    Attributes:
        late_p99_ms: kind of history → lateness of ticks that 99 of 100 stay below.
        stored_s: kind of history → from the end of the last call until all were stored.
        core_wait_percent: of the time, the most that the server could have run but had no core.
    """

    late_p99_ms: dict[str, list[float]]
    stored_s: dict[str, list[float]]
    core_wait_percent: float


Figures = (
    MediaFigures
    | DelayFigures
    | VoiceFigures
    | CallFigures
    | FeatureFigures
    | WebSocketFigures
    | BesideFigures
    | TranscriptFigures
    | AgentFigures
    | OwnAgentFigures
    | FaultyAgentFigures
    | MemoryFigures
    | SoakFigures
    | SignallingFigures
    | HistoriesFigures
    | BurstFigures
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one run, and what was not as it must be."""

    figures: Figures
    faults: tuple[str, ...]
