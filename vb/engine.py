"""The engine: the tables of legs, rooms and kinds, and what all of them share.

Every state change is a plain method, atomic between two checkpoints, so there are no locks. A leg or room
that fails is contained by its table and takes nothing else with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.agents.agents import Agents
from vb.config import Config
from vb.errors import NotAvailable
from vb.events.bus import EventBus
from vb.events.hooks import HookTable
from vb.history.tasks import History
from vb.ids import IdSource
from vb.legs.kind import LegKind, LegKinds
from vb.legs.registry import Legs
from vb.lifetime import Lifetime
from vb.local_speech.tasks.speech import LocalSpeech
from vb.metrics import Metrics
from vb.mixer.plane import Plane
from vb.name_servers import LookUp
from vb.playback.players import Players
from vb.recording.recorders import Recorders
from vb.rooms.bridges import Bridges
from vb.rooms.registry import Rooms
from vb.rtp.ports import PortPool
from vb.stt.tasks.transcripts import Transcripts
from vb.tts.tasks.voices import Voices
from vb.web.tasks.client import WebClient
from vb.webrtc.dtls import DtlsContext


@dataclass(frozen=True)
class Engine:
    """Everything that commands work on.

    Attributes:
        life: where the server stands between its start and its end.
        web: the way out to other servers.
        look_up: asks the name servers.
        ports: the pool of ports for RTP.
        agents: conversations with agents.
        local_speech: engines of this machine.
        transcripts: of what legs say.
        legs: live legs by id.
        rooms: live rooms by id.
        dtls: the certificate that WebRTC and SRTP are made with.
        voices: text to speech.
        history: of calls, if it is kept.
        kinds: the kinds of leg that there are.
    """

    config: Config
    bus: EventBus
    hooks: HookTable
    metrics: Metrics
    ids: IdSource
    life: Lifetime
    web: WebClient
    look_up: LookUp
    plane: Plane
    ports: PortPool
    players: Players
    recorders: Recorders
    agents: Agents
    local_speech: LocalSpeech
    transcripts: Transcripts
    voices: Voices
    legs: Legs
    rooms: Rooms
    bridges: Bridges
    dtls: DtlsContext
    history: History | None = None
    kinds: LegKinds = field(default_factory=LegKinds)

    @property
    def instance_id(self) -> str:
        """Name this server, as every event and answer does."""
        return self.bus.instance_id

    @property
    def ready(self) -> bool:
        """Whether everything is up."""
        return self.life.ready

    def stored(self) -> History:
        """Return the history of calls.

        Raises:
            NotAvailable: none is kept.
        """
        if self.history is None:
            raise NotAvailable("not available: call history (VB_DATABASE_URL is off)")
        return self.history

    @property
    def problems(self) -> list[str]:
        """Return what does not work now, though calls are taken."""
        problem = self.history.problem if self.history is not None else None
        return [problem] if problem is not None else []

    @property
    def stopping(self) -> bool:
        """Whether no new call is taken."""
        return self.life.stopping

    def add_kind(self, kind: LegKind) -> None:
        """Register a kind of leg: for `create_leg`, for its transports and for the metrics."""
        self.kinds.add(kind)
        self.metrics.add_leg_types(kind.leg_types)
        self.metrics.add_source(kind.readings)
