"""Whose turn it is: when the user has finished, and when the user interrupts.

One clock: every delay counts from the last voiced frame, whatever else comes early or late. An interruption
is judged in two steps. Soon after speech begins the agent pauses; only when it goes on is the agent's turn
over. A cough or an "mhm" lets the agent go on at the sample where it paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

BREATH_S: Final = 0.2
"""A shorter silence belongs to the speech around it."""
NEVER: Final = float("inf")
BACKCHANNEL_S: Final = 1.0
"""An "mhm" after which the agent spoke on for so long is no turn; near its end it may be an answer."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient an agent is, in seconds.

    Attributes:
        min_endpointing_s: silence after which a turn may be over, once its words are final.
        max_endpointing_s: silence after which it is over whatever is missing.
        ask_s: silence after which the transcript is asked to be final.
        pause_s: speech after which the agent pauses.
        interruption_s: speech after which the agent's turn is over.
        interruption_words: words that have to be understood besides.
        false_interruption_s: silence after which a paused agent goes on, when words are waited for.
    """

    min_endpointing_s: float = 0.4
    max_endpointing_s: float = 2.5
    ask_s: float = 0.24
    pause_s: float = 0.06
    interruption_s: float = 0.2
    interruption_words: int = 0
    false_interruption_s: float = 1.5


@dataclass(frozen=True, slots=True)
class Pause:
    """The agent holds its tongue for now."""


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
class UserTurn:
    """The user has finished.

    Attributes:
        text: what was said.
        ended_at: time of its last voiced frame.
    """

    text: str
    ended_at: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What seemed to be the user's turn had no words: whatever was cut short because of it goes on."""


Decision: TypeAlias = Pause | Resume | Interrupt | AskFinal | UserTurn | Noise


class TurnTaking:
    """One conversation's turns; times are those of one monotonic clock, in seconds.

    Args:
        timing: how patient the agent is.

    Attributes:
        interruptible: whether the agent may be interrupted now.
        false_interruptions: how often the agent has paused for nothing.
    """

    def __init__(self, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self.interruptible = True
        self.false_interruptions = 0
        self._finals: list[str] = []
        self._partial = ""
        self._run_at = NEVER
        self._voiced_at = -NEVER
        self._spoke = False
        self._asked = False
        self._agent = False
        self._paused = False
        self._fresh = False
        self._words_at = -NEVER
        self._agent_at = -NEVER
        self._false_at = NEVER
        self._said = ""
        self._said_at = -NEVER

    @property
    def user_speaking(self) -> bool:
        """Whether the user is in mid-turn."""
        return self._spoke or bool(self._finals) or bool(self._partial)

    @property
    def paused(self) -> bool:
        """Whether the agent holds its tongue."""
        return self._paused

    # -- what is seen --------------------------------------------------------------------------------------

    def voiced(self, now: float) -> None:
        """Take note of a frame with speech of the user."""
        if now - self._voiced_at > BREATH_S:
            self._run_at = now
        self._voiced_at = now
        self._asked = False
        if now - self._run_at >= self.timing.pause_s:
            self._spoke = True

    def partial(self, text: str) -> None:
        """Take note of what the user seems to say since the last final words."""
        self._partial = text.strip()
        self._fresh = True

    def final(self, text: str) -> None:
        """Take note of what the user has said."""
        self._partial = ""
        self._fresh = True
        if text.strip():
            self._finals.append(text.strip())

    def agent(self, speaks: bool) -> None:
        """Take note whether anything of the agent is heard or waits to be."""
        self._agent = speaks
        if not speaks:
            self._paused = False

    # -- what follows --------------------------------------------------------------------------------------

    def decide(self, now: float) -> list[Decision]:
        """Return what follows from all that was seen; asked at least every 100 ms."""
        found: list[Decision] = []
        if self._fresh:
            self._fresh = False
            if not self._spoke:
                self._words_at = now  # words of somebody who speaks too softly to be seen
        if self._agent:
            self._agent_at = now
            self._judge_interruption(now, found)
        if not self._agent:
            self._judge_end(now, found)
        elif not self.interruptible and self.user_speaking:
            self._ask(now - self._heard_at, found)  # a guarded agent is answered when it has finished
        return found

    @property
    def _heard_at(self) -> float:
        return self._voiced_at if self._spoke else max(self._voiced_at, self._words_at)

    def _ask(self, silence: float, found: list[Decision]) -> None:
        if silence >= self.timing.ask_s and not self._asked:
            self._asked = True
            found.append(AskFinal())

    def _judge_interruption(self, now: float, found: list[Decision]) -> None:
        timing, silence = self.timing, now - self._voiced_at
        run = self._voiced_at - self._run_at if silence <= BREATH_S else 0.0
        if not self.interruptible:
            return
        if silence <= BREATH_S and run >= timing.pause_s and not self._paused:
            self._paused = True
            found.append(Pause())
        words = len(" ".join([*self._finals, self._partial]).split())
        if self._paused and words >= timing.interruption_words:
            long_enough = run >= timing.interruption_s or (timing.interruption_words > 0 and words > 0)
            if long_enough:
                self._paused = self._agent = False
                found.append(Interrupt())
                return
        wait_s = timing.false_interruption_s if timing.interruption_words else BREATH_S
        if self._paused and silence > wait_s:
            self._paused = False
            self._forget()
            self._false_at = self._voiced_at
            self.false_interruptions += 1
            found.append(Resume())

    def _judge_end(self, now: float, found: list[Decision]) -> None:
        timing, silence = self.timing, now - self._heard_at
        if not self.user_speaking:
            return
        self._ask(silence, found)
        said = " ".join([*self._finals, self._partial]).strip()
        complete = bool(self._finals) and not self._partial
        if (complete and silence >= timing.min_endpointing_s) or silence >= timing.max_endpointing_s:
            if self._is_over(said):
                self._forget()
                return
            ended_at = self._heard_at
            self._forget()
            if said:
                self._said, self._said_at = said, self._voiced_at
                found.append(UserTurn(said, ended_at))
            else:
                found.append(Noise())
        elif not said and silence >= timing.false_interruption_s:
            self._forget()
            found.append(Noise())

    def _is_over(self, said: str) -> bool:
        """Return whether words belong to what was dealt with: they have come late, without another voice."""
        if self._voiced_at == self._false_at and self._agent_at - self._voiced_at > BACKCHANNEL_S:
            return True
        late = self._voiced_at == self._said_at and self._voiced_at > -NEVER
        return bool(said) and late and _plain(said) in _plain(self._said)

    def _forget(self) -> None:
        self._finals.clear()
        self._partial, self._spoke = "", False


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
