"""What a listener makes of a caller's ear: the words that were heard, against those that were said."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import numpy as np
import trio

from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler
from vb.demo.check import Check
from vb.demo.track import RATE_HZ, level_dbfs
from vb.providers.failure import ProviderFailed
from vb.stt.base import RATE_HZ as EAR_HZ
from vb.stt.base import FinalText, Options, Provider, Session

MOST: Final = 0.75
"""Of the words that were said so many must be read again; short ones and numbers have many spellings."""
_WORD: Final = re.compile(r"[a-z']{4,}")
_NUMBERS: Final = frozenset({"three", "four", "five", "seven", "eight", "nine", "eleven", "twelve"})
_BLOCK_S: Final = 0.1
_SPEECH_DBFS: Final = -45.0
_PAUSE_BLOCKS: Final = 5
_AROUND_BLOCKS: Final = 5


def utterances_of(pcm: Pcm) -> list[Pcm]:
    """Return what was said without a pause, each with a little silence around it."""
    size = int(_BLOCK_S * RATE_HZ)
    blocks = np.pad(pcm, (0, -pcm.size % size)).reshape(-1, size)
    loud = [number for number, block in enumerate(blocks) if level_dbfs(block) > _SPEECH_DBFS]
    found: list[list[int]] = []
    for number in loud:
        if found and number - found[-1][1] <= _PAUSE_BLOCKS:
            found[-1][1] = number
        else:
            found.append([number, number])
    quiet = np.zeros(_AROUND_BLOCKS * size, np.int16)
    return [
        np.concatenate([quiet, blocks[max(0, first - 1) : last + 2].ravel(), quiet])
        for first, last in found
        if last > first
    ]


async def read_words(provider: Provider, pcm: Pcm) -> str:
    """Have audio of a caller written down, utterance by utterance; returns "" when the listener fails."""
    texts: list[str] = []
    try:
        for utterance in utterances_of(pcm):
            audio = StreamResampler(RATE_HZ, EAR_HZ).process(utterance)
            async with provider.open(Options(language="en")) as session, trio.open_nursery() as nursery:
                nursery.start_soon(_send, session, audio)
                while (heard := await session.receive()) is not None:
                    texts += [item.text for item in heard if isinstance(item, FinalText)]
    except* ProviderFailed:
        texts.clear()
    return " ".join(texts)


async def _send(session: Session, audio: Pcm) -> None:
    size = int(_BLOCK_S * EAR_HZ)
    for at in range(0, audio.size, size):
        await session.send(audio[at : at + size])
    await session.finish()


def compare(said: str, read: str) -> Check:
    """Tell how many of the words that were said were read."""
    wanted, found = _words_of(said), _words_of(read)
    there = (wanted & found).total()
    holds = wanted.total() > 0 and there >= MOST * wanted.total()
    figure = f"{there} of {wanted.total()} words"
    return Check("a listener reads the agent's words in what the caller heard", holds, figure)


def _words_of(text: str) -> Counter[str]:
    words = _WORD.findall(text.lower().replace("good bye", "goodbye"))
    return Counter(word for word in words if word not in _NUMBERS)
