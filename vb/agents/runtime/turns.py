"""Whose turn it is: when the user has finished, and when the user interrupts.

One clock: every delay counts from the last voiced sample, whatever else comes early or late. An interruption
is judged in two steps. Soon after speech begins the agent pauses; only when it goes on is the agent's turn
over. A cough or an "mhm" lets the agent go on at the sample where it paused. Where a detector takes its time
to tell speech from noise, the agent pauses for any sound, and goes on when nothing says that it was speech.
"""

from __future__ import annotations

from typing import Final

from vb.agents.runtime.decisions import (
    NEVER,
    AskFinal,
    AskTurn,
    Decision,
    Guess,
    Interrupt,
    Noise,
    Pause,
    Resume,
    Timing,
    UserTurn,
)

BREATH_S: Final = 0.2
"""A shorter silence belongs to the speech around it."""
FRAME_S: Final = 0.02
BACKCHANNEL_S: Final = 1.0
"""An "mhm" after which the agent spoke on for so long is no turn; near its end it may be an answer."""
GAP_S: Final = 0.06
"""A quiet moment as short as this does not end a sound."""
_ROUNDING_S: Final = 1e-6


class TurnTaking:
    """One conversation's turns; times are those of one monotonic clock, in seconds.

    Args:
        timing: how patient the agent is.

    Attributes:
        interruptible: whether the agent may be interrupted now.
        false_interruptions: how often the agent has paused for nothing.
        began_at: when the newest stretch of the user's speech began.
        behind_s: how long ago that came which is heard now: what has come since is not known yet.
    """

    def __init__(self, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self.interruptible = True
        self.false_interruptions = 0
        self.began_at = -NEVER
        self.behind_s = 0.0
        self._finals: list[str] = []
        self._partial = ""
        self._sound_at = self._voiced_at = -NEVER
        self._loud_at = self._loud_began_at = self._doubted_at = -NEVER
        self._spoke = False
        self._turn_began_at = -NEVER
        self._asked = False
        self._asked_turn = False
        self._silence = 0
        self._judged: bool | None = None
        self._eager = ""
        self._guess = ""
        self._guesses = 0
        self._deaf = False
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

    def voiced(self, at: float, length_s: float = FRAME_S) -> None:
        """Take note of a frame with speech of the user, which may be told a little late.

        Args:
            at: when its last sample came.
            length_s: its length.
        """
        if at - self._sound_at > BREATH_S:
            self.began_at = at - length_s
            self._deaf = False
        self._sound_at = at
        if self._deaf:
            return
        self._voiced_at = at
        self._asked = self._asked_turn = False
        self._judged = None
        self._silence += 1
        if self._run >= self.timing.pause_s and not self._spoke:
            self._spoke = True
            if not self._finals:
                self._turn_began_at = self.began_at

    def sounded(self, at: float, length_s: float = FRAME_S) -> None:
        """Take note of a loud frame, of which it will be told later whether it is speech."""
        if at - length_s - self._loud_at > GAP_S:
            self._loud_began_at = at - length_s
        self._loud_at = at

    @property
    def _run(self) -> float:
        """How long the user has spoken without a pause."""
        return self._voiced_at - self.began_at + _ROUNDING_S

    def partial(self, text: str) -> None:
        """Take note of what the user seems to say since the last final words."""
        self._partial = text.strip()
        self._eager = ""
        self._fresh = True

    def final(self, text: str) -> None:
        """Take note of what the user has said."""
        self._partial = self._eager = ""
        self._fresh = True
        if text.strip():
            self._finals.append(text.strip())

    def may_be_over(self, text: str) -> None:
        """Take note that a provider takes the turn to be nearly over, with these words; "" no more."""
        self._eager = text.strip()

    def judged(self, silence: int, complete: bool | None) -> None:
        """Take note of what a turn model says, unless the user has gone on since it was asked.

        Args:
            silence: as in `AskTurn`.
            complete: whether the user has finished; None when nobody knows.
        """
        if silence == self._silence:
            self._judged = complete

    def agent(self, speaks: bool) -> None:
        """Take note whether anything of the agent is heard or waits to be."""
        self._agent = speaks
        if not speaks:
            self._paused = False

    # -- what follows --------------------------------------------------------------------------------------

    def ends_at(self) -> float:
        """Return when the user's turn is over, if nothing more is seen until then; inf while none goes on."""
        if self._agent or not self.user_speaking:
            return NEVER
        return self._heard_at + self._wait_s() + _ROUNDING_S

    def decide(self, now: float) -> list[Decision]:
        """Return what follows from all that was seen; asked with each frame, or every 100 ms without."""
        found: list[Decision] = []
        if self._fresh:
            self._fresh = False
            if not self._spoke:
                self._words_at = now  # words of somebody who speaks too softly to be seen
        if self._agent:
            self._agent_at = now
            if self._paused or self._heard_lately(now - self.behind_s):
                self._judge_interruption(now - self.behind_s, found)
        if not self._agent:
            self._judge_end(now, found)
        elif not self.interruptible and self.user_speaking:
            self._ask(now - self._heard_at, found)  # a guarded agent is answered when it has finished
        return found

    @property
    def _heard_at(self) -> float:
        return self._voiced_at if self._spoke else max(self._voiced_at, self._words_at)

    def _ask(self, silence: float, found: list[Decision]) -> None:
        timing = self.timing
        if timing.turn_model and self._spoke and silence >= timing.ask_turn_s and not self._asked_turn:
            self._asked_turn = True
            found.append(AskTurn(self._silence))
        # Who tells turns would end this one because it is asked to: that is left to the last moment.
        ask_s = timing.max_endpointing_s - timing.ask_s if timing.provider_turns else timing.ask_s
        if silence >= ask_s and not self._asked:
            self._asked = True
            found.append(AskFinal())

    def _heard_lately(self, heard_until: float) -> bool:
        """Return whether anything of the last moments may be an interruption; mostly nothing is."""
        return heard_until - max(self._voiced_at, self._loud_at) <= BREATH_S

    def _judge_interruption(self, now: float, found: list[Decision]) -> None:
        """Judge what was heard up to now."""
        timing, silence = self.timing, now - self._voiced_at
        run = self._run if silence <= BREATH_S else 0.0
        if not self.interruptible:
            if self._paused:  # it may not be cut any more
                self._paused = False
                found.append(Resume())
            return
        if not self._paused:
            if silence <= BREATH_S and run >= timing.pause_s:
                self._paused = True
                found.append(Pause(self.began_at))
            elif self._sounds(now):
                self._paused = True
                self._doubted_at = self._loud_began_at
                found.append(Pause(self._doubted_at))
        words = len(" ".join([*self._finals, self._partial]).split()) if self._paused else 0
        if self._paused and words >= timing.interruption_words:
            long_enough = run >= timing.interruption_s or (timing.interruption_words > 0 and words > 0)
            if long_enough:
                self._paused = self._agent = False
                found.append(Interrupt())
                return
        wait_s = timing.false_interruption_s if timing.interruption_words else BREATH_S
        doubt = now - self._doubted_at
        if self._paused and silence > wait_s and doubt > BREATH_S:
            self._paused = False
            if self._voiced_at > self._doubted_at:
                self._forget()
                self._false_at = self._voiced_at
            self.false_interruptions += 1
            found.append(Resume())

    def _sounds(self, now: float) -> bool:
        """Return whether there is a sound for which the agent has not paused yet."""
        lasts = self._loud_at - self._loud_began_at + _ROUNDING_S >= self.timing.pause_s
        return now - self._loud_at <= GAP_S and lasts and self._loud_began_at != self._doubted_at

    def _judge_end(self, now: float, found: list[Decision]) -> None:
        timing, silence = self.timing, now - self._heard_at
        if not self.user_speaking:
            return
        if self._run >= timing.longest_speech_s and self._spoke and silence <= BREATH_S:
            self._deaf = True  # music, or whatever it is: nobody speaks for so long without a breath
            self._end(0.0, found)
            return
        self._ask(silence, found)
        said = " ".join([*self._finals, self._partial]).strip()
        wait_s = self._wait_s()
        if silence >= wait_s:
            self._end(wait_s, found)
        elif not said and silence >= timing.false_interruption_s:
            self._forget()
            found.append(Noise())
        else:
            self._judge_guess(said if self._complete else "", found)

    @property
    def _complete(self) -> bool:
        """Whether all words of the turn are there."""
        return bool(self._finals) and not self._partial

    def _wait_s(self) -> float:
        """Return the silence after which the turn is over, as things stand."""
        timing = self.timing
        least_s, most_s = timing.min_endpointing_s, timing.max_endpointing_s
        if not self._complete:
            return most_s
        if timing.turn_model and self._judged is None:
            least_s = max(timing.unsure_endpointing_s, least_s)
        elif timing.turn_model and not self._judged:
            return most_s
        return min(least_s, most_s)

    def _end(self, wait_s: float, found: list[Decision]) -> None:
        said = " ".join([*self._finals, self._partial]).strip()
        ended_at = self._heard_at
        wait_s = max(wait_s, self._agent_at - ended_at)  # what may not be interrupted is waited for as well
        over = self._is_over(said)
        guessed = bool(self._guess)
        self._forget()
        if over:
            found += [Guess("")] * guessed
        elif said:
            self._said, self._said_at = said, self._voiced_at
            found.append(UserTurn(said, ended_at, wait_s))
        else:
            found.append(Noise())

    def _judge_guess(self, said: str, found: list[Decision]) -> None:
        """Let an answer to what was said so far be begun, or the one that was begun be forgotten."""
        timing = self.timing
        text = " ".join([*self._finals, self._eager]) if self._eager else said
        too_long = self._voiced_at - self._turn_began_at > timing.guess_speech_s
        if text != self._guess and (too_long or self._guesses >= timing.guesses):
            text = ""
        if text != self._guess:
            self._guesses += bool(text)
            self._guess = text
            found.append(Guess(text))

    def _is_over(self, said: str) -> bool:
        """Return whether words belong to what was dealt with: they have come late, without another voice."""
        if self._voiced_at == self._false_at and self._agent_at - self._voiced_at > BACKCHANNEL_S:
            return True
        late = self._voiced_at == self._said_at and self._voiced_at > -NEVER
        return bool(said) and late and _plain(said) in _plain(self._said)

    def _forget(self) -> None:
        self._finals.clear()
        self._partial = self._eager = self._guess = ""
        self._spoke, self._guesses = False, 0


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
