"""What turn-taking can decide, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient an agent is, in seconds.

    Attributes:
        min_endpointing_s: silence after which a turn may be over, once its words are final.
        max_endpointing_s: silence after which it is over whatever is missing.
        unsure_endpointing_s: the least silence where a turn model should have said something and has not.
        ask_s: silence after which the transcript is asked to be final.
        ask_turn_s: silence after which a turn model is asked.
        pause_s: speech after which the agent pauses.
        interruption_s: speech after which the agent's turn is over.
        interruption_words: words that have to be understood besides.
        false_interruption_s: silence after which a paused agent goes on, when words are waited for.
        longest_speech_s: sound without a breath that is no speech, or has been enough of it.
        guess_speech_s: speech up to which an answer may be begun before the turn is over.
        guesses: how often that may be tried for one turn.
        turn_model: whether a turn model is asked.
        provider_turns: whether the provider of transcripts makes words final when a turn is over.
    """

    min_endpointing_s: float = 0.4
    max_endpointing_s: float = 2.5
    unsure_endpointing_s: float = 0.4
    ask_s: float = 0.24
    ask_turn_s: float = 0.2
    pause_s: float = 0.06
    interruption_s: float = 0.2
    interruption_words: int = 0
    false_interruption_s: float = 1.5
    longest_speech_s: float = 20.0
    guess_speech_s: float = 10.0
    guesses: int = 3
    turn_model: bool = False
    provider_turns: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """The agent holds its tongue for now.

    Attributes:
        began_at: when the speech began that made it do so.
    """

    began_at: float


@dataclass(frozen=True, slots=True)
class Resume:
    """It was nothing: the agent goes on where it paused."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The agent's turn is over: nothing more of it is heard."""


@dataclass(frozen=True, slots=True)
class AskFinal:
    """The transcript of what was said should become final now."""


@dataclass(frozen=True, slots=True)
class AskTurn:
    """A turn model should say whether the user has finished.

    Attributes:
        silence: number of the silence, for `TurnTaking.judged`.
    """

    silence: int


@dataclass(frozen=True, slots=True)
class Guess:
    """The user's turn may be over with these words; an answer to anything else is not needed any more.

    Attributes:
        text: what was said; "" when nothing can be guessed now.
    """

    text: str


@dataclass(frozen=True, slots=True)
class UserTurn:
    """The user has finished.

    Attributes:
        text: what was said.
        ended_at: time of its last voiced sample.
        wait_s: silence that was waited for on purpose.
    """

    text: str
    ended_at: float
    wait_s: float = 0.4


@dataclass(frozen=True, slots=True)
class Noise:
    """What seemed to be the user's turn had no words: whatever was cut short because of it goes on."""


Decision: TypeAlias = Pause | Resume | Interrupt | AskFinal | AskTurn | Guess | UserTurn | Noise
