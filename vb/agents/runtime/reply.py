"""What became of one answer of an agent."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.agents.runtime.brain import ToolCall
from vb.agents.runtime.heard import Stretch, heard_until


@dataclass
class Reply:
    """What became of an answer.

    Attributes:
        turn: its number.
        asked_at: when it was asked for.
        text: all words so far.
        noted: how many characters of it are in the history already.
        calls: tools that were called.
        ended_at: when the last voiced sample of the user came that it answers; None when nobody spoke.
        wait_s: silence after it that was waited for on purpose.
        judged_at: when that sample was known to be voiced.
        transcript_at: when the last words of the user came that it answers.
        early: whether the model was asked before it was certain that the user had finished.
        model_asked_at: when the model was asked.
        first_words_at: when the first word came.
        piece_at: when there were enough words for the voice to begin with.
        voice_open_at: when the voice could take them.
        first_text_at: when it was given the first of them.
        first_audio_at: when the first sample came.
        first_heard_at: when the first sample was heard.
        made_ms: how much audio came.
        tone_ms: how long tones were heard that bridge a silence.
        stretches: what the voice was given.
        failed: whether the voice has failed in it.
        complete: whether it was heard to its end.
        over: whether it has ended, however.
        ducked_s: how long the user had spoken when the answer first paused; None when it never did.
        resumed_samples: at which of its samples, at 24 kHz, it went on after each pause for nothing.
    """

    turn: int
    asked_at: float
    text: str = ""
    noted: int = 0
    calls: list[ToolCall] = field(default_factory=list)
    ended_at: float | None = None
    wait_s: float = 0.0
    judged_at: float | None = None
    transcript_at: float | None = None
    early: bool = False
    model_asked_at: float | None = None
    first_words_at: float | None = None
    piece_at: float | None = None
    voice_open_at: float | None = None
    first_text_at: float | None = None
    first_audio_at: float | None = None
    first_heard_at: float | None = None
    made_ms: int = 0
    tone_ms: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    failed: bool = False
    complete: bool = False
    over: bool = False
    ducked_s: float | None = None
    resumed_samples: list[int] = field(default_factory=list)

    def heard_until(self, played_ms: int) -> int:
        """Return up to which character it was heard, once so much of its turn was played."""
        if self.complete:
            return len(self.text)
        return heard_until(self.stretches, played_ms - self.tone_ms)

    def note(self, played_ms: int) -> str:
        """Return what was heard since the last time, for the history."""
        until = max(self.noted, self.heard_until(played_ms))
        begun, self.noted = self.noted, until
        return self.text[begun:until].strip()
