"""A chat endpoint that answers with anything: one event each time, and the conversation goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import TonesVoice
from tests.agents.runtime.stage import open_stage
from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall
from vb.agents.runtime.chat import MAX_ANSWER_CHARS, MAX_LINE_BYTES, ChatSettings
from vb.agents.runtime.options import AgentOptions
from vb.agents.tasks.chat import ChatModel
from vb.events.agent import AgentDisconnected, AgentError, AgentResponse, AgentTurn
from vb.tts.base import Session as VoiceSession
from vb.tts.base import Voice

ORDER = Tool(
    "order",
    "",
    {"type": "object", "properties": {"count": {"type": "integer", "maximum": 9}}, "required": ["count"]},
)


def delta(**fields: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": fields}]}).encode() + b"\n\n"


def call(name: str, arguments: str) -> bytes:
    return delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}}])


@dataclass
class Response:
    status: int
    body: Sequence[bytes | float]
    over: Any

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for part in self.body:
            if isinstance(part, float):
                await trio.sleep(part)
            else:
                await trio.lowlevel.checkpoint()
                yield part

    async def aclose(self) -> None:
        self.over()


@dataclass
class Endpoint:
    """A way out that leads to one endpoint, and the model behind it."""

    bodies: list[Sequence[bytes | float] | int]
    asked: list[Any] = field(default_factory=list)
    thinking: int = 0

    async def open(self, method: str, url: str, **request: Any) -> Response:
        self.asked.append(json.loads(request["content"]))
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        self.thinking += 1
        if isinstance(body, int):
            return Response(body, (), self._closed)
        return Response(200, body, self._closed)

    def _closed(self) -> None:
        self.thinking -= 1

    def answer(self, lines: Sequence[Line], tools: Sequence[Tool]) -> AsyncGenerator[Answer, None]:
        model = ChatModel(self, ChatSettings("http://model", "m"))  # type: ignore[arg-type]  # as much of it as is used
        return model.answer(lines, tools)


GOOD: list[bytes | float] = [delta(content="bravo.") + b"data: [DONE]\n\n"]
BAD: dict[str, Sequence[bytes | float] | int] = {
    "empty": [],
    "nothing in it": [delta(role="assistant"), b"data: [DONE]\n\n"],
    "not UTF-8": [b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'],
    "no stream": [json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()],
    "a page": [b"<html><body>It works!</body></html>"],
    "no JSON": [b"data: {{{\n\n"],
    "nested without end": [b"data: " + b"[" * 100_000 + b"\n\n"],
    "an error": [b'data: {"error": {"message": "overloaded"}}\n\n'],
    "a line without end": [b"data: " + b"x" * 65_536] * (MAX_LINE_BYTES // 65_536 + 2),
    "comments without end": cast("list[bytes | float]", [b": ping\n\n", 1.0]) * 60,
    "arguments without end": [
        call("order", '{"count": '),
        *cast("list[bytes | float]", [call("order", " " * 1000), 0.01]) * 10_000,
    ],
    "silence": [delta(role="assistant"), 3600.0],
    "another type": [delta(content=["a", {"b": 1}], tool_calls="order")],
    "status 500": 500,
}


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_that_is_none_is_one_event_and_the_next_one_is_heard(
    autojump_clock: MockClock, name: str
) -> None:
    endpoint = Endpoint([BAD[name], GOOD])
    async with open_stage(endpoint, AgentOptions(tools=(ORDER,))) as stage:
        await stage.say("hello")
        await stage.until(AgentTurn)
        (error,) = stage.all(AgentError)
        assert error["part"] == "model"
        assert stage.all(AgentResponse)[0]["text"].startswith("Sorry")
        await stage.say("again")
        assert (await stage.until(AgentResponse, 2))["text"] == "bravo."
        assert len(stage.all(AgentError)) == 1
    assert len(stage.all(AgentDisconnected)) == 1


async def test_an_answer_without_end_is_cut_and_told_once(autojump_clock: MockClock) -> None:
    endpoint = Endpoint([[delta(content="alpha " * 100)] * 10_000, GOOD])
    async with open_stage(endpoint) as stage:
        await stage.say("hello")
        await trio.sleep(1.5)
        (error,) = stage.all(AgentError)
        assert error["error"] == "model: its answer does not end"
        assert endpoint.thinking == 0
        await stage.say("stop")
        turn = await stage.until(AgentTurn)
        assert len(turn["text"]) <= MAX_ANSWER_CHARS
        assert (await stage.until(AgentResponse, 2))["text"] == "bravo."


async def test_what_can_be_read_of_an_answer_is_heard_and_the_rest_told(autojump_clock: MockClock) -> None:
    body = delta(content="alpha. ") + b"data: \xff\xff\n\n" + delta(content="bravo.")
    async with open_stage(Endpoint([[body]])) as stage:
        await stage.say("hello")
        assert (await stage.until(AgentTurn))["heard"] == "alpha. bravo."
        (error,) = stage.all(AgentError)
        assert error["error"] == "model: a part of its answer cannot be read"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (call("fly", "{}"), "there is no tool fly"),
        (call("order", '{"count": "two"}'), "order: count is not of type integer"),
        (call("order", '{"count": 40}'), "order: count is more than 9"),
        (call("order", "{}"), "order: count is missing"),
        (call("order", '["count"]'), "order: its arguments are no JSON object"),
        (call("order", '{"count": 1'), "order: its arguments are no JSON object"),
        (call("order", '{"count": "\\ud800"}'), "order: count is not of type integer"),
    ],
)
async def test_a_call_that_is_wrong_is_not_carried_out_and_the_model_is_told_why(
    autojump_clock: MockClock, asked: bytes, why: str
) -> None:
    async def do(call: ToolCall) -> str:
        raise AssertionError(call)

    endpoint = Endpoint([[asked], GOOD])
    async with open_stage(endpoint, AgentOptions(tools=(ORDER,)), do) as stage:
        await stage.say("order")
        assert (await stage.until(AgentResponse))["text"] == "bravo."
        (error,) = stage.all(AgentError)
        assert (error["part"], error["category"], error["error"]) == ("tool", "permanent_input", why)
        assert endpoint.asked[1]["messages"][-1] == {
            "role": "tool",
            "content": f"error: {why}",
            "tool_call_id": "c",
        }


async def test_arguments_that_fit_are_carried_out(autojump_clock: MockClock) -> None:
    done: list[Any] = []

    async def do(call: ToolCall) -> str:
        done.append(dict(call.arguments))
        return "done"

    async with open_stage(
        Endpoint([[call("order", '{"count": 2}')], GOOD]), AgentOptions(tools=(ORDER,)), do
    ) as stage:
        await stage.say("order")
        await stage.until(AgentTurn)
        assert done == [{"count": 2}]
        assert stage.all(AgentError) == []


async def test_half_a_character_in_arguments_is_replaced_before_they_are_judged(
    autojump_clock: MockClock,
) -> None:
    done: list[Any] = []

    async def do(call: ToolCall) -> str:
        done.append(dict(call.arguments))
        return "done"

    find = Tool(
        "find", "Finds.", {"type": "object", "properties": {"id": {"type": "string", "pattern": "^x"}}}
    )
    endpoint = Endpoint([[call("find", '{"id": "x\\ud83d"}')], GOOD])
    async with open_stage(endpoint, AgentOptions(tools=(find,)), do) as stage:
        await stage.say("find")
        await stage.until(AgentTurn)
        assert done == [{"id": "x?"}]
        assert stage.all(AgentError) == []


def written(seconds: float) -> Sequence[bytes | float]:
    """A call whose arguments take so long to write."""
    slowly: list[bytes | float] = [1.0, call("order", " ")]
    return [call("order", '{"count": '), *slowly * round(seconds), call("order", "2}")]


@pytest.mark.parametrize("preemptive", [False, True])
async def test_a_model_that_writes_arguments_is_not_silent(
    autojump_clock: MockClock, preemptive: bool
) -> None:
    done: list[Any] = []

    async def do(call: ToolCall) -> str:
        done.append(dict(call.arguments))
        return "done"

    options = AgentOptions(tools=(ORDER,), preemptive=preemptive)
    async with open_stage(Endpoint([written(12), GOOD]), options, do) as stage:
        await stage.say("order")
        said = len(stage.heard)
        turn = await stage.until(AgentTurn)
        assert (turn["heard"], done, stage.all(AgentError)) == ("bravo.", [{"count": 2}], [])
        assert stage.longest_silence_s(said) < 5


async def test_a_model_that_never_stops_writing_arguments_is_given_up(autojump_clock: MockClock) -> None:
    async def do(call: ToolCall) -> str:
        raise AssertionError(call)

    async with open_stage(Endpoint([written(60)]), AgentOptions(tools=(ORDER,)), do) as stage:
        await stage.say("order")
        turn = await stage.until(AgentTurn)
        (error,) = stage.all(AgentError)
        assert (error["part"], turn["heard"][:5]) == ("model", "Sorry")
        assert turn["took_ms"] < 22_000


class DeadVoice(TonesVoice):
    """A voice that nobody can connect to."""

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[VoiceSession]:
        await trio.Event().wait()
        async with super().open(voice, streamed=streamed) as session:
            yield session


async def test_a_tool_that_is_called_without_a_word_waits_for_no_voice(autojump_clock: MockClock) -> None:
    done = trio.Event()

    async def do(call: ToolCall) -> str:
        done.set()
        return "done"

    options = AgentOptions(tools=(ORDER,))
    endpoint = Endpoint([[call("order", '{"count": 2}')], GOOD])
    async with open_stage(endpoint, options, do, speaker=(DeadVoice(), Voice("v"))) as stage:
        await stage.say("order")
        with trio.fail_after(1.0):
            await done.wait()
