"""Rules, the chat API, and how much of a text was heard."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall, Words
from vb.agents.runtime.chat import MAX_ANSWER_CHARS, AnswerReader, request_body
from vb.agents.runtime.heard import SpokenWord, heard_text
from vb.agents.runtime.rules import RuleBot

NOON = datetime(2026, 1, 1, 12, 0)


async def answers(text: str, *tools: str) -> list[Answer]:
    bot = RuleBot(lambda: NOON)
    known = [Tool(name, "") for name in tools]
    return [part async for part in bot.answer([Line("user", text)], known)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("What time is it?", "It is 12 o'clock."),
        ("Count to three.", "one, two, three."),
        ("Count to 12 please", "one, two, three, four, five, six, seven, eight, nine, ten, 11, 12."),
        ("Hello.", "Hello. I can repeat what you say, count, and tell you the time."),
        ("The sky is blue.", "You said: The sky is blue."),
    ],
)
async def test_the_rule_bot_answers(said: str, answer: str) -> None:
    assert await answers(said) == [Words(answer)]


async def test_the_rule_bot_hangs_up_and_transfers_only_when_it_may() -> None:
    assert await answers("Goodbye!") == [Words("Goodbye. Have a nice day.")]
    assert (await answers("Goodbye!", "hangup"))[1:] == [ToolCall("rule-1", "hangup", {})]
    found = await answers("Transfer me to sip:bob@example.org", "transfer")
    assert found[1:] == [ToolCall("rule-1", "transfer", {"target": "sip:bob@example.org"})]


def test_a_request_holds_the_lines_and_the_tools() -> None:
    call = ToolCall("c1", "look", {"a": 1})
    lines = [
        Line("system", "Be kind."),
        Line("user", "hi"),
        Line("assistant", "", calls=(call,)),
        Line("tool", "blue", call_id="c1"),
    ]
    body = json.loads(request_body("m", lines, [Tool("look", "looks")]))
    assert (body["model"], body["stream"]) == ("m", True)
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
    assert body["messages"][3] == {"role": "tool", "content": "blue", "tool_call_id": "c1"}
    assert body["tools"][0]["function"]["name"] == "look"


def delta(**fields: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": fields}]}).encode() + b"\n\n"


def read(data: bytes, size: int) -> list[Answer]:
    reader = AnswerReader()
    found: list[Answer] = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return [*found, *reader.finish()]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_streamed_answer_is_read_however_it_is_cut(size: int) -> None:
    part = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"a"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    data = delta(content="Hel") + b": comment\n\n" + delta(content="lo") + delta(tool_calls=[part])
    data += delta(tool_calls=[rest]) + b"data: [DONE]\n\n" + delta(content="too late")
    assert read(data, size) == [Words("Hel"), Words("lo"), ToolCall("c", "look", {"a": 1})]


def test_arguments_that_are_no_json_are_none() -> None:
    part = {"index": 0, "id": "c", "function": {"name": "look", "arguments": "{{{"}}
    assert read(delta(tool_calls=[part]), 99) == [ToolCall("c", "look", {})]


def test_an_answer_without_end_is_cut() -> None:
    found = read(delta(content="x" * 5000) * 100, 4096)
    assert sum(len(part.text) for part in found if isinstance(part, Words)) == MAX_ANSWER_CHARS


@given(st.lists(st.binary(max_size=80), max_size=10))
def test_no_answer_harms_its_reader(chunks: list[bytes]) -> None:
    reader = AnswerReader()
    for chunk in chunks:
        list(reader.feed(b"data: " + chunk + b"\n"))
    list(reader.finish())


def test_words_with_marks_are_heard_when_their_end_was() -> None:
    spoken = [SpokenWord("one", 300), SpokenWord("two", 700), SpokenWord("three", 1100)]
    assert heard_text("one two three", spoken, 700, 1200) == "one two"
    assert heard_text("one two three", spoken, 0, 1200) == ""


def test_words_without_marks_are_counted_by_their_letters() -> None:
    text = "one two three four five six seven eight nine ten"
    assert heard_text(text, [], 5000, 10_000) == "one two three four five"
    assert heard_text(text, [], 10_000, 10_000) == text
