"""Rules, the chat API, and how much of a text was heard."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall, Words, Writing
from vb.agents.runtime.chat import MAX_ANSWER_CHARS, AnswerReader, request_body
from vb.agents.runtime.heard import SpokenWord, Stretch, heard_until
from vb.agents.runtime.history import MAX_LINES, History
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
    assert await answers("Goodbye!") == [Words("Goodbye. Have a nice day.", uninterruptible=True)]
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
    words, work = [Words("Hel"), Words("lo")], [Writing(), Writing()]
    assert read(data, size) == [*words, *work, ToolCall("c", "look", {"a": 1})]


def test_arguments_that_are_no_json_are_none() -> None:
    part = {"index": 0, "id": "c", "function": {"name": "look", "arguments": "{{{"}}
    assert read(delta(tool_calls=[part]), 99) == [
        Writing(),
        ToolCall("c", "look", {}, "its arguments are no JSON object"),
    ]


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
    marks = [SpokenWord("one", 300), SpokenWord("two", 700), SpokenWord("three", 1100)]
    said = Stretch("one,  two; three.", 0, 0, 1200, True, marks)
    assert said.text[: heard_until([said], 700)] == "one,  two;"
    assert heard_until([said], 0) == 0
    assert heard_until([said], 1200) == len(said.text)


def test_a_mark_may_span_many_words() -> None:
    marks = [SpokenWord("one two three", 1200), SpokenWord("four five", 2000)]
    said = Stretch("one two three, four five.", 0, 0, 2000, True, marks)
    assert said.text[: heard_until([said], 800)] == "one two"
    assert said.text[: heard_until([said], 1200)] == "one two three,"
    assert said.text[: heard_until([said], 1700)] == "one two three, four"


def test_words_without_marks_are_counted_by_their_letters() -> None:
    said = Stretch("one two three four five six seven eight nine ten", 0, 0, 10_000, True)
    assert said.text[: heard_until([said], 5000)] == "one two three four five"
    assert heard_until([said], 10_000) == len(said.text)


def test_what_the_voice_has_not_made_yet_was_not_heard() -> None:
    first, second = Stretch("One.", 0, 0, 500, True), Stretch("Two three four five.", 5, 500, 200)
    text = "One. Two three four five."
    assert text[: heard_until([first, second], 600)] == "One."
    assert text[: heard_until([first], 500)] == "One."


def test_a_result_stands_behind_its_call_whatever_was_said_meanwhile() -> None:
    history, call = History("Be kind."), ToolCall("c1", "look", {"a": 1})
    history.add(Line("user", "look"))
    history.called("Wait.", [call])
    history.add(Line("user", "quick"))
    assert history.known(call) is None
    history.result(call, "blue")
    assert [line.role for line in history.lines] == ["system", "user", "assistant", "tool", "user"]
    assert history.known(ToolCall("c1", "look", {"a": 1})) == "blue"
    assert history.known(ToolCall("c1", "look", {"a": 2})) is None


def test_a_long_conversation_keeps_its_instructions_and_no_result_without_its_call() -> None:
    history = History("Be kind.")
    for number in range(150):
        call = ToolCall(str(number), "look")
        history.called("", [call])
        history.result(call, "blue")
    history.add(Line("user", "on"))
    assert len(history.lines) <= MAX_LINES
    assert history.lines[0].role == "system"
    assert history.lines[1].calls
