"""Where the time of one answer went: step by step from the user's last sound, and whose share it was."""

from __future__ import annotations

from typing import Final, TypeAlias

from vb.agents.runtime.reply import Reply

Times: TypeAlias = dict[str, int | None]
"""Milliseconds by name; None for what never came, or where nobody spoke before."""
STEPS: Final = ("vad", "transcript", "endpointing", "first_words", "first_text", "first_audio", "first_heard")
SHARES: Final = ("policy", "provider", "server")


def steps_ms(reply: Reply) -> Times:
    """Return how long after the user's last voiced sample each step came, in the order of `STEPS`."""
    at = (
        reply.judged_at,
        reply.transcript_at,
        reply.asked_at,
        reply.first_words_at,
        reply.first_text_at,
        reply.first_audio_at,
        reply.first_heard_at,
    )
    return {step: _ms(reply.ended_at, when) for step, when in zip(STEPS, at, strict=True)}


def shares_ms(reply: Reply) -> Times:
    """Return whose the time was from the user's last voiced sample to the first frame that was heard.

    Policy is silence that was waited for on purpose. Provider is what transcript, model, tools and voice have
    taken beyond it, wherever they run. The rest is the server's own.
    """
    ended, heard, audio = reply.ended_at, reply.first_heard_at, reply.first_audio_at
    if ended is None or heard is None or audio is None:
        return dict.fromkeys(SHARES)
    asked, waited = reply.asked_at, ended + reply.wait_s
    final = min(reply.transcript_at or waited, asked)
    words = max(asked, reply.piece_at or asked)
    ready = max(words, reply.voice_open_at or words)  # from here on it was ours to give words to the voice
    text = max(ready, reply.first_text_at or ready)
    provider = max(0.0, final - waited)
    provider += max(0.0, words - max(asked, reply.model_asked_at or asked))
    provider += (ready - words) + max(0.0, audio - text)
    policy = min(reply.wait_s, asked - ended)
    server = max(0.0, heard - ended - policy - provider)
    return dict(zip(SHARES, (round(1000 * share_s) for share_s in (policy, provider, server)), strict=True))


def _ms(begun: float | None, at: float | None) -> int | None:
    return None if at is None or begun is None else max(0, round((at - begun) * 1000))
