"""The helper as a real process, with engines that need no model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import vb
from tests.local_speech.fakes import MODELS, VOICES, ask, read_tones, say
from tests.local_speech.test_speech import begin, collect, speak
from vb.children.tasks.process import HelperProcess, launcher, start
from vb.local_speech.frames import Frame, Kind, with_audio, with_fields
from vb.local_speech.tasks.speech import LocalSpeech
from vb.providers.failure import ProviderFailed

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "tests.local_speech.fake_process"]


@asynccontextmanager
async def open_real(command: list[str] | None = None) -> AsyncIterator[LocalSpeech]:
    async with trio.open_nursery() as nursery:
        speech = LocalSpeech(launcher(command or COMMAND), VOICES, MODELS, draw=lambda: 0.5)
        nursery.start_soon(speech.run)
        try:
            yield speech
        finally:
            nursery.cancel_scope.cancel()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


async def wait_gone(pid: int) -> None:
    with trio.fail_after(10):
        while not gone(pid):  # noqa: ASYNC110 -- another process cannot set an event
            await trio.sleep(0.02)


async def pid_of(process: HelperProcess) -> int:
    found = process._process.pid  # type: ignore[attr-defined]  # of the real one
    assert isinstance(found, int)
    return found


async def test_text_is_spoken_and_what_was_spoken_is_written_down() -> None:
    async with open_real() as speech:
        with trio.fail_after(20):
            assert await speak(speech, "One two. Three four.") == "one two three four"
            with ask(speech, "transcript") as exchange:
                exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en"))
                for frame in with_audio(exchange.id, say("yes no yes")):
                    exchange.send(frame)
                exchange.send(Frame(Kind.CLOSE, exchange.id))
                texts = []
                while (frame := await exchange.receive()).kind is not Kind.DONE:
                    texts.append(frame.fields.get("text"))
                assert texts == [None, "yes no yes"]


async def test_a_crash_in_native_code_fails_what_ran_and_nothing_after_it() -> None:
    async with open_real() as speech:
        with trio.fail_after(30):
            with pytest.raises(ProviderFailed) as failed:
                await speak(speech, "crash")
            assert failed.value.category == "retryable"
            assert await speak(speech, "hello") == "hello"


async def test_what_a_library_prints_does_not_disturb_the_frames() -> None:
    async with open_real() as speech:
        with trio.fail_after(20):
            assert await speak(speech, "print one") == "one"
            assert await speak(speech, "two") == "two"


async def test_leaving_the_block_ends_a_helper_whose_engine_hangs_within_a_second() -> None:
    process = await start(COMMAND)
    pid = await pid_of(process)
    try:
        with trio.fail_after(20):
            await process.incoming.receive_some(100)
            await process.outgoing.send_all(
                with_fields(Kind.VOICE, 1, voice="tones", ahead=9).encode()
                + Frame(Kind.TEXT, 1, b"hang").encode()
                + Frame(Kind.END, 1).encode()
            )
            await trio.sleep(0.1)
    finally:
        started = trio.current_time()
        await process.end()
    assert trio.current_time() - started < 3
    assert gone(pid)


async def test_a_hanging_engine_leaves_the_others_at_work() -> None:
    async with open_real() as speech:
        with trio.fail_after(20), ask(speech, "utterance") as stuck:
            begin(stuck, "hang")
            with ask(speech, "transcript") as exchange:
                exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en"))
                for frame in with_audio(exchange.id, say("one two")):
                    exchange.send(frame)
                exchange.send(Frame(Kind.FLUSH, exchange.id))
                while (await exchange.receive()).fields.get("text") != "one two":
                    pass


async def test_garbage_on_its_pipe_ends_the_helper_with_a_status_of_its_own() -> None:
    process = await start(COMMAND)
    with trio.fail_after(20):
        await process.incoming.receive_some(100)
        await process.outgoing.send_all(b"\xff" * 100)
        while await process.incoming.receive_some(100):
            pass
        assert await process.end() == 2


async def test_a_helper_does_not_outlive_a_server_that_is_killed() -> None:
    script = (
        "import trio\n"
        "from vb.children.tasks.process import start\n"
        "async def main():\n"
        f"    process = await start({COMMAND!r})\n"
        "    await process.incoming.receive_some(100)\n"
        "    print(process._process.pid, flush=True)\n"
        "    await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    root = Path(vb.__path__[0]).parent
    server = await trio.lowlevel.open_process(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root, env={**_environment()}
    )
    assert server.stdout is not None
    with trio.fail_after(30):
        pid = int(await server.stdout.receive_some(100))
        assert not gone(pid)
        server.send_signal(signal.SIGKILL)
        await server.wait()
        await wait_gone(pid)
    await server.stdout.aclose()


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


async def test_a_helper_runs_behind_the_calls_and_knows_no_secrets_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "do not tell")
    process = await start(COMMAND)
    pid = await pid_of(process)
    try:
        with trio.fail_after(20):
            await process.incoming.receive_some(100)
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
        assert b"do not tell" not in await trio.Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        await process.end()


async def test_a_word_is_heard_from_the_real_pipe_while_a_long_text_is_spoken() -> None:
    async with open_real() as speech:
        with trio.fail_after(20), ask(speech, "utterance") as long:
            begin(long, "One two three four five six seven. " * 40)
            assert await speak(speech, "yes") == "yes"
            heard = read_tones(await collect(long)).split()
            assert len(heard) == 7 * 40
