"""A real helper process whose engines are tones: `python -m tests.local_speech.fake_process`."""

from __future__ import annotations

import os
import sys
import time

from tests.local_speech.fakes import FakeEngines, FakeVoice, words_of
from vb.codecs.pcm import Pcm
from vb.local_speech.tasks.helper import serve


class Troublesome(FakeVoice):
    """Does what the words say."""

    def speak(self, text: str) -> tuple[int, Pcm]:
        for word in words_of(text):
            if word == "crash":
                os.abort()
            if word == "hang":
                time.sleep(1000)  # noqa: TID251 -- an engine that never comes back
            if word == "print":
                os.write(1, b"a library says something\n")
                sys.stderr.write("and something else " * 10_000)
        return super().speak(" ".join(word for word in words_of(text) if word != "print"))


if __name__ == "__main__":
    serve(FakeEngines(Troublesome()), 16)
