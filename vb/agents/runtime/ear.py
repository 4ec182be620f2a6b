"""Whether a frame holds speech of the user, judged by how loud it is against what is usual."""

from __future__ import annotations

from typing import Final

from vb.codecs.pcm import VOICED_RMS, Pcm, level_of

_RISE: Final = 1.001
"""What the noise floor is multiplied by in 20 ms of something louder: it doubles in 14 s."""
_FALL: Final = 0.9
"""What is left in 20 ms of how far the floor is above something quieter."""
_LEAST_FLOOR: Final = 10.0
_MOST_FLOOR: Final = 2000.0
"""Between these the floor stays; nobody could speak over a higher one."""
_ABOVE_FLOOR: Final = 3.0
"""How much louder than the floor a voice is, 9.5 dB."""
_WHILE_SPEAKING: Final = 1.6
"""How much louder the user must be while the agent speaks."""
_ECHO: Final = 0.15
"""What comes back of the agent's own voice is quieter than this part of it."""
_ECHO_FADES: Final = 0.96
"""How the agent's voice fades in 20 ms: its echo comes up to 300 ms later."""


class VoiceActivity:
    """One user's voice: a threshold that follows the noise floor.

    The floor falls quickly and rises slowly, so that speech does not become the floor of itself.

    Attributes:
        above_echo: whether the last frame was louder than what may come back of the agent's own voice.
    """

    def __init__(self) -> None:
        self.above_echo = False
        self._floor = VOICED_RMS / _ABOVE_FLOOR
        self._own = 0.0

    def spoke(self, level: float) -> None:
        """Take note of 20 ms that the agent says, and how loud they are."""
        self._own = max(self._own, level)

    def judge(self, frame: Pcm, *, agent_speaks: bool) -> bool:
        """Return whether a frame of 20 ms is voiced.

        Its later half counts: a resampler hands the last sound on a little late, which would make the user's
        last word 20 ms longer than it was.
        """
        rms = level_of(frame[frame.size // 2 :])
        self._own *= _ECHO_FADES
        self._floor = min(self._floor * _RISE, rms) if rms > self._floor else self._floor * _FALL + rms * 0.1
        self._floor = min(max(self._floor, _LEAST_FLOOR), _MOST_FLOOR)
        threshold = max(VOICED_RMS, self._floor * _ABOVE_FLOOR)
        self.above_echo = rms > self._own * _ECHO
        return self.above_echo and rms > threshold * (_WHILE_SPEAKING if agent_speaks else 1.0)
