"""How one of the server's own agents behaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.agents.runtime.brain import Do, Tool
from vb.agents.runtime.chat import ChatSettings
from vb.agents.runtime.decisions import Timing
from vb.stt.base import Options as Listening
from vb.stt.base import Provider as TranscriptProvider
from vb.tts.base import Provider as VoiceProvider
from vb.tts.base import Voice


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What a request says of it.

    Attributes:
        agent_id: what the request calls it.
        instructions: what the model is told to be.
        greeting: what it says first; "" to wait for the user.
        guarded: whether the greeting cannot be interrupted.
        idle_s: silence after which it asks whether anybody is there; None for never.
        idle_prompt: what it asks then.
        apology: what it says when its model fails.
        preemptive: whether its model begins to answer before it is certain that the user has finished.
        detector: whether the detector of speech is asked, where there is one; else loudness decides.
        timing: how patient it is.
        tools: what it can do.
    """

    agent_id: str = ""
    instructions: str = ""
    greeting: str = ""
    guarded: bool = False
    idle_s: float | None = None
    idle_prompt: str = "Are you still there?"
    apology: str = "Sorry, I cannot answer that now."
    preemptive: bool = True
    detector: bool = True
    timing: Timing = field(default_factory=Timing)
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is made of.

    Attributes:
        options: how it behaves.
        chat: the language model that answers; None to follow rules.
        voices: who speaks.
        voice: with which voice.
        transcripts: who listens.
        listening: how.
        do: carries out a tool and returns its result for the model; never raises.
    """

    options: AgentOptions
    chat: ChatSettings | None
    voices: VoiceProvider
    voice: Voice
    transcripts: TranscriptProvider
    listening: Listening
    do: Do
