"""What is measured, and the bars that the figures are read against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PAIR_AMPLITUDE: Final = 8000.0
FEW_AMPLITUDE: Final = 4000.0
CROWD_AMPLITUDE: Final = 500.0
"""Two hundred tones of this level at spread phases stay below full scale."""

LATENESS_P99_MS: Final = 5.0
LATE_TICKS_PERCENT: Final = 1.0
"""The same bar as the server counts it."""
MEMORY_KB: Final = 150.0
WEBRTC_MEMORY_KB: Final = 400.0
WEBRTC_LATENESS_P99_MS: Final = 10.0
FEW_SHARE: Final = 0.25
"""Most that a room in which few talk may cost, of one in which all do."""
BESIDE_CODEC: Final = 2.5
"""What a browser costs beside its codec, over what a phone costs."""
MOQ_BESIDE_BROWSER: Final = 2.5
WHATSAPP_BESIDE_BROWSER: Final = 1.1
"""What a leg of another kind costs, over what a browser does."""
TRANSCRIBED_LATENESS_P99_MS: Final = 10.0
DELAY_P50_MS: Final = 22.0
DELAY_P95_MS: Final = 32.0
AGENTS_LATENESS_P99_MS: Final = 10.0
SILENCED_P95_MS: Final = 40.0
"""From a partner's word that it is interrupted to the last of it on the wire."""
SERVER_SHARE_P50_MS: Final = 40.0
SERVER_SHARE_P95_MS: Final = 60.0
"""From a user's last voiced packet to the first of the answer, without what policy and partners take."""
DUCKED_P95_MS: Final = 150.0
"""From the first packet of a user who interrupts to the last of the agent."""
FIRST_AUDIO_P95_MS: Final = 40.0
"""From the request for a kept utterance to its first audio on the wire."""
SETUP_P99_MS: Final = 100.0
STORED_S: Final = 5.0
"""How long the last of many calls may take until the history has it."""
BURST_LATENESS_MS: Final = 20.0
"""How much later than otherwise a tick may be during a burst."""


@dataclass(frozen=True, slots=True)
class MediaCase:
    """Everybody talks, and the server's cost is read over a steady window.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        layout: two legs to a room, or one room for all.
        pass_through: whether payloads may be handed on unmixed.
        bar_us: most µs of CPU per leg and tick, None without a bar.
    """

    name: str
    legs: int
    layout: Literal["pairs", "one room"] = "pairs"
    pass_through: bool = False
    bar_us: float | None = None

    @property
    def amplitude(self) -> float:
        """Level of every tone."""
        return PAIR_AMPLITUDE if self.layout == "pairs" else CROWD_AMPLITUDE


@dataclass(frozen=True, slots=True)
class SpeakersCase:
    """Callers in one format of whom few or all talk, or in all formats and packet times in turn.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        codec: of all legs, every format and packet time in turn when None.
        talkers: the first so many legs talk, all of them when None.
        listeners: what the others send.
        room_size: legs to a room, all in one when None.
        checked: whether what listeners hear is judged; too many tones at once drown in a codec for speech.
        bar_us: most µs of CPU per leg and tick, None without a bar.
    """

    name: str
    legs: int
    codec: str | None
    talkers: int | None = None
    listeners: Literal["silence", "pause"] = "silence"
    room_size: int | None = None
    checked: bool = True
    bar_us: float | None = None

    @property
    def amplitude(self) -> float:
        """Level of every tone."""
        return CROWD_AMPLITUDE if self.talkers is None and self.room_size is None else FEW_AMPLITUDE


@dataclass(frozen=True, slots=True)
class WebRtcCase:
    """Browsers with Opus over SRTP, of whom all or few talk.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        layout: two legs to a room, or one room for all.
        talkers: the first so many legs talk, all of them when None.
        listeners: what the others send: silence in packets that say so, or pauses, as the server asks for.
        complexity: of the server's encoders; costs are compared at one that does not follow the load.
        cores: how many the server may use; with more than one it shares them with the load.
        handshakes_per_s: further legs that come and go meanwhile.
        phones: whether as many PCMU phones are then called into the same rooms, for the ratio.
        checked: whether what listeners hear is judged; too many tones at once drown in a codec for speech.
        bar_us: most µs of CPU per leg and tick, None without a bar.
        share_of: the case whose cost this one may have a share of, where both are run.
    """

    name: str
    legs: int
    layout: Literal["pairs", "one room"] = "pairs"
    talkers: int | None = None
    listeners: Literal["silence", "pause"] = "silence"
    complexity: str = "auto"
    cores: int = 1
    handshakes_per_s: float = 0.0
    phones: bool = False
    checked: bool = True
    bar_us: float | None = None
    share_of: str | None = None

    @property
    def amplitude(self) -> float:
        """Level of every tone."""
        return FEW_AMPLITUDE if self.checked else CROWD_AMPLITUDE


@dataclass(frozen=True, slots=True)
class DelayCase:
    """Bursts of a tone through 2-party rooms."""

    name: str = "delay"
    legs: int = 100
    burst_packets: int = 40
    pause_packets: int = 27
    bursts: int = 8


@dataclass(frozen=True, slots=True)
class VoiceCase:
    """A kept utterance is said to everybody, one after the other, several times.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        rounds: how often each of them hears it.
        step_s: from one request to the next.
    """

    name: str = "speech-kept"
    legs: int = 20
    rounds: int = 8
    step_s: float = 0.037


@dataclass(frozen=True, slots=True)
class CallCase:
    """Calls offered at a rate, put into 2-party rooms, talking until the last one is up."""

    name: str = "calls"
    rate: float = 100.0
    calls: int = 1000


@dataclass(frozen=True, slots=True)
class SoakCase:
    """Constant load for a long time: standing calls, and others that come and go.

    Attributes:
        name: as `--only` takes it.
        minutes: how long.
        standing: calls that stay, in rooms.
        rooms: how many rooms they are spread over.
        recorded: standing calls that are recorded all along.
        rate: short calls a second, each by a script drawn for it.
        sample_s: time between two samples.
        seed: of all that is drawn.
    """

    name: str = "soak"
    minutes: float = 30.0
    standing: int = 60
    rooms: int = 20
    recorded: int = 6
    rate: float = 3.0
    sample_s: float = 30.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class FeaturesCase:
    """Everybody talks in bursts, with speaking detection on and some legs recorded.

    Attributes:
        name: as `--only` takes it.
        legs: how many, in 2-party rooms.
        recorded: of them, in stereo.
        burst_packets: of tone.
        pause_packets: of silence between two bursts.
        bar_us: most µs of CPU per leg and tick.
    """

    name: str = "features-500"
    legs: int = 500
    recorded: int = 50
    burst_packets: int = 100
    pause_packets: int = 50
    bar_us: float | None = 22.0


@dataclass(frozen=True, slots=True)
class WebSocketCase:
    """Programs on WebSockets talk in 2-party rooms, and after them as many phones, for the ratio.

    Attributes:
        name: as `--only` takes it.
        legs: how many of each.
        bar_us: most µs of CPU for a frame each way of one program.
    """

    name: str = "websocket-50"
    legs: int = 50
    bar_us: float | None = 250.0


@dataclass(frozen=True, slots=True)
class BesideCase:
    """Browsers talk in 2-party rooms, and after them as many callers of another kind, for the ratio.

    Attributes:
        name: as `--only` takes it.
        legs: how many of each.
        kind: of the others.
        bar: most that a leg of theirs may cost, in legs of browsers.
    """

    name: str
    legs: int
    kind: Literal["MoQ", "WhatsApp"]
    bar: float | None = None

    @property
    def amplitude(self) -> float:
        """Level of every tone."""
        return FEW_AMPLITUDE


@dataclass(frozen=True, slots=True)
class TranscriptsCase:
    """Everybody talks, and each leg has a transcription by a service on the other core.

    Attributes:
        name: as `--only` takes it.
        legs: how many, in 2-party rooms.
        bar_us: most µs of CPU per leg and tick.
    """

    name: str = "transcripts-100"
    legs: int = 100
    bar_us: float | None = None


@dataclass(frozen=True, slots=True)
class AgentsCase:
    """Everybody talks with an agent that runs elsewhere, speaks most of the time, and is interrupted.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        block_ms: how much audio goes to an agent at a time, which is its provider's: 20 or 60.
    """

    name: str
    legs: int
    block_ms: Literal[20, 60]


@dataclass(frozen=True, slots=True)
class OwnAgentsCase:
    """Everybody talks with an agent of the server's own, whose ears, model and voice have fixed delays.

    Attributes:
        name: as `--only` takes it.
        legs: how many.
        burst_packets: of speech.
        pause_packets: of silence that follow, in which the agent answers until it is interrupted.
    """

    name: str
    legs: int
    burst_packets: int = 50
    pause_packets: int = 110


@dataclass(frozen=True, slots=True)
class FaultyAgentsCase:
    """Agents whose partners fail in every way come and go, and nothing of them is left.

    Attributes:
        name: as `--only` takes it.
        legs: how many calls they come to.
        sessions: how many of them.
    """

    name: str = "agents-faulty"
    legs: int = 20
    sessions: int = 200


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """Many short calls one after the other, and what is left of them.

    Attributes:
        name: as `--only` takes it.
        warm_up: calls before the growth is measured; more than linger in SIP at a time.
        calls: after them.
        rate: calls a second.
        hold_s: least and most time that a call is up.
        bar_kb: most kB by which the idle server may have grown for each call after the warm-up.
    """

    name: str = "memory-10000"
    warm_up: int = 5000
    calls: int = 5000
    rate: float = 100.0
    hold_s: tuple[float, float] = (1.0, 2.0)
    bar_kb: float = 0.5


HistoryKind = Literal["", "sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class SignallingCase:
    """Calls without audio, answered by a command and hung up soon after; one client reads all events.

    Attributes:
        name: as `--only` takes it.
        rate: calls a second.
        calls: measured.
        warm_up: calls before them.
        hold_s: from the 200 to the caller's BYE.
        history: the kind of database in which the server keeps its calls; empty for none.
    """

    name: str = "signalling"
    rate: float = 60.0
    calls: int = 900
    warm_up: int = 120
    hold_s: float = 0.1
    history: HistoryKind = ""


@dataclass(frozen=True, slots=True)
class HistoriesCase:
    """The same calls without a history, with one in SQLite and with one in PostgreSQL, in turn.

    Attributes:
        name: as `--only` takes it.
        rate: calls a second.
        calls: measured, in each run.
        warm_up: calls before them.
        rounds: how often each takes its turn.
    """

    name: str = "signalling-300-histories"
    rate: float = 300.0
    calls: int = 3000
    warm_up: int = 150
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class BurstCase:
    """Many calls end at once, before several readers and one client that does not read.

    Attributes:
        name: as `--only` takes it.
        legs: how many; few of them have audio, all but those are in one room.
        kind: the room is deleted, everybody hangs up within a second, or the server is stopped.
    """

    name: str
    legs: int
    kind: Literal["delete", "hang up", "stop"]


Case = (
    MediaCase
    | SpeakersCase
    | WebRtcCase
    | DelayCase
    | VoiceCase
    | CallCase
    | FeaturesCase
    | WebSocketCase
    | BesideCase
    | TranscriptsCase
    | AgentsCase
    | OwnAgentsCase
    | FaultyAgentsCase
    | MemoryCase
    | SoakCase
    | SignallingCase
    | HistoriesCase
    | BurstCase
)

CASES: Final[tuple[Case, ...]] = (
    MediaCase("pairs-50", 50),
    MediaCase("pairs-200", 200, bar_us=16.0),
    MediaCase("pairs-500", 500, bar_us=15.0),
    MediaCase("pairs-1000", 1000),
    MediaCase("room-200", 200, layout="one room", bar_us=12.0),
    MediaCase("pairs-500-pass", 500, pass_through=True),
    SpeakersCase("mixed", 60, None, room_size=4),
    SpeakersCase("room-few-pcmu", 200, "PCMU", talkers=3),
    SpeakersCase("room-all-g722", 200, "G722"),
    SpeakersCase("room-few-g722", 200, "G722", talkers=3),
    SpeakersCase("room-all-opus", 40, "opus", checked=False),
    SpeakersCase("room-few-opus", 40, "opus", talkers=3),
    SpeakersCase("room-few-opus-200", 200, "opus", talkers=3, listeners="pause"),
    WebRtcCase("webrtc-pairs", 40),
    WebRtcCase("webrtc-pairs-100", 100, phones=True),
    WebRtcCase("webrtc-pairs-170", 170, cores=2),
    WebRtcCase("webrtc-room-all", 100, "one room", complexity="0", checked=False),
    WebRtcCase("webrtc-room-few", 100, "one room", talkers=3, complexity="0", share_of="webrtc-room-all"),
    WebRtcCase("webrtc-room-few-dtx", 100, "one room", 3, "pause", "0", share_of="webrtc-room-all"),
    WebRtcCase("webrtc-handshakes", 20, handshakes_per_s=30.0),
    DelayCase(),
    VoiceCase(),
    CallCase(),
    FeaturesCase(),
    WebSocketCase(),
    BesideCase("moq-10", 10, "MoQ", bar=MOQ_BESIDE_BROWSER),
    BesideCase("moq-30", 30, "MoQ", bar=MOQ_BESIDE_BROWSER),
    BesideCase("whatsapp-10", 10, "WhatsApp", bar=WHATSAPP_BESIDE_BROWSER),
    BesideCase("whatsapp-40", 40, "WhatsApp", bar=WHATSAPP_BESIDE_BROWSER),
    TranscriptsCase(),
    AgentsCase("agents-80", 80, 20),
    AgentsCase("agents-150", 150, 60),
    OwnAgentsCase("agents-own-60", 60),
    FaultyAgentsCase(),
    MemoryCase(),
    SignallingCase(),
    SignallingCase("signalling-300", rate=300.0, calls=3000, warm_up=150),
    SignallingCase("signalling-300-history", rate=300.0, calls=3000, warm_up=150, history="postgresql"),
    BurstCase("delete-400", 420, "delete"),
    BurstCase("delete-2000", 2020, "delete"),
    BurstCase("hang-up-2000", 2000, "hang up"),
    BurstCase("stop-1000", 1000, "stop"),
)

BINDING: Final = (AgentsCase, OwnAgentsCase, FaultyAgentsCase)
"""Cases that fail when a figure is over its bar; with others the figures are only shown."""

ON_REQUEST: Final[tuple[Case, ...]] = (SoakCase(), HistoriesCase())
"""Only run when they are named."""

QUICK: Final[tuple[Case, ...]] = (
    MediaCase("pairs-50", 50),
    SpeakersCase("mixed", 15, None, room_size=4),
    SpeakersCase("opus-10", 10, "opus", room_size=2),
    WebRtcCase("webrtc-pairs", 10, phones=True),
    DelayCase(legs=20, bursts=3),
    VoiceCase(legs=5, rounds=3),
    CallCase(calls=100),
    FeaturesCase("features-20", 20, 4, bar_us=None),
    WebSocketCase("websocket-10", 10, bar_us=None),
    BesideCase("moq-10", 10, "MoQ"),
    BesideCase("whatsapp-10", 10, "WhatsApp"),
    TranscriptsCase("transcripts-10", 10),
    AgentsCase("agents-10", 10, 20),
    AgentsCase("agents-10-60ms", 10, 60),
    OwnAgentsCase("agents-own-10", 10),
    FaultyAgentsCase(legs=10, sessions=30),
    SignallingCase(calls=60, warm_up=10),
    BurstCase("delete-80", 80, "delete"),
    BurstCase("hang-up-80", 80, "hang up"),
    BurstCase("stop-80", 80, "stop"),
)


def rooms_of(legs: int, layout: Literal["pairs", "one room"]) -> list[str]:
    """Return the room that each leg dials."""
    return [f"room-{leg // 2}" if layout == "pairs" else "room-0" for leg in range(legs)]
