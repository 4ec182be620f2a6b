"""The demonstration of an agent as its users meet it: in a browser, and with a language model behind it.

What the browser's microphone hears is a file in which a local voice speaks, with pauses for the answers.
`INTEROP_AIMOCK` names the stand-in for the model (see `interop.chat`); without it that half is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio

from interop.chat import KEY, find_aimock, running_aimock
from interop.chromium import find_chromium, open_page
from interop.processes import reaped
from interop.report import NotRun, Report, run_peer
from interop.speech import check_installed

RATE_HZ = 48_000
START_S = 90.0
TALK_S = 120.0
FIRST_PAUSE_S = 8.0
PAUSES_S = 7.0
PHRASES = (
    "What time is it?",
    "Please count to three.",
    "The train leaves every twenty minutes.",
    "Please transfer me.",
    "Goodbye.",
)
ANSWERS = (
    r"Hello",
    r"It is \d+",
    r"one, two, three",
    r"You said: The train leaves every (20|twenty) minutes",
    r"I am transferring you now.*did not work",
    r"Goodbye",
)
"""What the agent says, in order; a browser's call cannot be transferred by SIP, which it says."""
MODEL: list[dict[str, Any]] = [
    {"match": {"userMessage": "time"}, "response": {"content": "It is noon where I live."}},
    {
        "match": {"userMessage": "count"},
        "response": {"content": ", ".join(f"number {number}" for number in range(1, 30)) + "."},
    },
    {"match": {"userMessage": "enough"}, "response": {"content": "All right, I stop."}},
    {
        "match": {"userMessage": "bye", "hasToolResult": False},
        "response": {
            "blocks": [
                {"type": "text", "text": "Until next time."},
                {"type": "toolCall", "id": "call-1", "name": "hangup", "arguments": {}},
            ]
        },
    },
]


def write_speech(path: Path) -> None:
    """Write what the caller says."""
    import hibari

    voice: Any = hibari.Hibari(voice="heart", model=None)
    pieces = [np.zeros(int(RATE_HZ * FIRST_PAUSE_S))]
    for phrase in PHRASES:
        sound = np.clip(voice(phrase, seed=1), -1, 1)
        times = np.arange(int(len(sound) * RATE_HZ / voice.sample_rate)) * voice.sample_rate / RATE_HZ
        pieces += [np.interp(times, np.arange(len(sound)), sound), np.zeros(int(RATE_HZ * PAUSES_S))]
    pieces.append(np.zeros(RATE_HZ * 60))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())


class Demo:
    """The running demonstration.

    Attributes:
        lines: what it has printed.
    """

    def __init__(self, process: trio.Process) -> None:
        self.lines: list[str] = []
        self._process = process
        self._news = trio.Event()

    async def read(self) -> None:
        """Keep what it prints until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += [line.decode(errors="replace") for line in lines]
            self._news.set()
            self._news = trio.Event()

    async def until(self, pattern: str, within_s: float) -> re.Match[str] | None:
        """Wait for a line."""
        with trio.move_on_after(within_s):
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                await self._news.wait()
        return None

    async def ended(self, within_s: float) -> int | None:
        """Wait for its end, and return its exit status."""
        with trio.move_on_after(within_s):
            return await self._process.wait()
        return None


@asynccontextmanager
async def running_demo(arguments: list[str], settings: Mapping[str, str]) -> AsyncIterator[Demo]:
    """The demonstration for the time of the block."""
    environment = {**os.environ, **settings}  # noqa: TID251 - a subprocess keeps PATH and the like
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "vb", "demo", "--agent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    async with reaped(process), trio.open_nursery() as nursery:
        demo = Demo(process)
        nursery.start_soon(demo.read)
        yield demo
        nursery.cancel_scope.cancel()


async def in_browser(report: Report, folder: Path) -> None:
    """Somebody opens the page, talks with the agent, and is hung up on."""
    find_chromium()
    speech = folder / "speech.wav"
    await trio.to_thread.run_sync(write_speech, speech)
    async with running_demo(["--phone", "--keep", str(folder / "kept")], {}) as demo:
        found = await demo.until(r"open (http://\S+/phone)", START_S)
        if not report.check(found is not None, "it names the page", demo.lines):
            return
        assert found is not None
        async with open_page(folder, found[1], microphone=speech) as page:
            report.check(await page.wait_for("document.readyState === 'complete'"), "the page is there")
            await page.run("document.getElementById('name').focus()")
            await page.ask("Input.insertText", text="anna")
            await page.press("Enter")
            status = await demo.ended(TALK_S)
            # A room is looked for before it is made.
            problems = [problem for problem in page.problems if "404" not in problem]
            report.equal(problems, [], "errors of the page")
        report.equal(status, 0, "the demonstration ends with the call")
        said = [line.partition("agent")[2].strip() for line in demo.lines if " agent " in line]
        text = "\n".join(demo.lines)
        at = 0
        for answer in ANSWERS:
            place = next((n for n in range(at, len(said)) if re.search(answer, said[n])), None)
            report.check(place is not None, f"the agent says {answer}", said[at:])
            at = at if place is None else place + 1
        report.check("ended (api_hangup)" in text, "it hangs up", text[-800:])
        recordings = [path async for path in _wavs(folder / "kept")]
        report.equal(len(recordings), 1, "recordings")


async def _wavs(folder: Path) -> AsyncIterator[trio.Path]:
    for path in await trio.Path(folder).glob("*.wav"):
        yield path


async def with_model(report: Report, folder: Path) -> None:
    """The scripted caller talks with a language model."""
    program = find_aimock()
    async with running_aimock(program, folder, MODEL) as url:
        settings = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY, "VB_AGENT_MODEL": "m-1"}
        async with running_demo(["--keep", str(folder / "model")], settings) as demo:
            status = await demo.ended(TALK_S)
            text = "\n".join(demo.lines)
            report.check(status == 0, "the scripted conversation with a model passes", text[-1500:])
            for answer in ("noon where I live", "All right, I stop", "Until next time"):
                report.check(answer in text, f"the model's words are heard: {answer}", json.dumps(demo.lines))
            report.check("is interrupted after" in text, "the model is interrupted")


async def run(report: Report) -> None:
    """Run both halves.

    Raises:
        NotRun: the engines or the browser are not installed.
    """
    check_installed()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interop-talk-")))
        await in_browser(report, folder)
        try:
            await with_model(report, folder)
        except NotRun as problem:
            print(f"        without a model: {problem}", flush=True)


def main() -> int:
    """Run this peer alone."""
    report = Report("talk")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
