"""The chat API by which most language models are reached, without the connection: requests, streamed answers.

Spec: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import SecretStr

from vb.agents.messages import object_at, parse_object, text_at, whole
from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall, Words
from vb.providers.reading import words

MAX_ANSWER_CHARS: Final = 8_000
"""More than that nobody listens to: an answer that has no end is cut."""
MAX_CALLS: Final = 8
MAX_LINE_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Which model is asked.

    Attributes:
        base_url: of an API in the manner of OpenAI's, with its version.
        key: of it; empty for one that needs none.
        model: its name there.
        trusted: the operator has set the URL.
    """

    base_url: str
    model: str
    key: SecretStr = field(default=SecretStr(""))
    trusted: bool = True


def request_body(
    model: str, lines: Sequence[Line], tools: Sequence[Tool], *, temperature: float | None = None
) -> bytes:
    """Return the body of a request for a streamed answer."""
    body: dict[str, Any] = {"model": model, "stream": True, "messages": [_message(line) for line in lines]}
    if tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in tools
        ]
    if temperature is not None:
        body["temperature"] = temperature
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _message(line: Line) -> dict[str, Any]:
    message: dict[str, Any] = {"role": line.role, "content": line.text}
    if line.role == "tool":
        message["tool_call_id"] = line.call_id
    if line.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in line.calls
        ]
        message["content"] = line.text or None
    return message


class AnswerReader:
    """Reads one streamed answer: bytes in, words and calls out.

    Attributes:
        over: whether the answer is complete, or as much of it as is taken.
        problem: what was wrong with it, whatever could be read; "" for nothing.
    """

    def __init__(self) -> None:
        self.over = False
        self.problem = ""
        self._rest = b""
        self._chars = 0
        self._calls: dict[int, dict[str, str]] = {}

    def feed(self, data: bytes) -> Iterator[Answer]:
        """Take bytes of the body."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._fail("its answer has a line without end")
        for line in lines:
            if line.startswith(b"data:") and not self.over:
                yield from self._take(line[5:].strip())

    def finish(self) -> Iterator[Answer]:
        """Return the calls of tools, which are complete only at the end."""
        self.over = True
        for index in sorted(self._calls)[:MAX_CALLS]:
            call = self._calls[index]
            if call["name"]:
                text = call["arguments"].strip() or "{}"
                arguments = whole(parse_object(text))
                bad = not arguments and "".join(text.split()) != "{}"
                problem = "its arguments are no JSON object" if bad else ""
                yield ToolCall(call["id"], words(call["name"])[:64], arguments, problem)
        self._calls.clear()

    def _fail(self, problem: str) -> None:
        self.over = True
        self.problem = problem

    def _take(self, data: bytes) -> Iterator[Answer]:
        if data == b"[DONE]":
            self.over = True
            return
        found = parse_object(data)
        if not found and data not in (b"", b"{}"):
            self.problem = "a part of its answer cannot be read"
        if found.get("error"):
            self._fail("it has failed in its answer")
            return
        choices = found.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            return
        delta = object_at(choice, "delta")
        text = text_at(delta, "content").encode("utf-8", "replace").decode()
        if text:
            text = text[: MAX_ANSWER_CHARS - self._chars]
            self._chars += len(text)
            yield Words(text)
            if self._chars >= MAX_ANSWER_CHARS:
                self._fail("its answer does not end")
        calls = delta.get("tool_calls")
        for number, part in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(part, Mapping):
                self._take_call(number, part)

    def _take_call(self, number: int, part: Mapping[str, Any]) -> None:
        index = part.get("index")
        key = index if isinstance(index, int) else number
        if key not in self._calls and len(self._calls) >= MAX_CALLS:
            return
        call = self._calls.setdefault(key, {"id": "", "name": "", "arguments": ""})
        function = object_at(part, "function")
        call["id"] = call["id"] or text_at(part, "id")[:128]
        call["name"] = call["name"] or text_at(function, "name")
        if len(call["arguments"]) < MAX_LINE_BYTES:
            call["arguments"] += text_at(function, "arguments")
