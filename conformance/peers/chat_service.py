"""A language model behind a chat API, as its document describes it, whose answers are written beforehand.

Next to it stands a tool, at `/tool`, which tells a colour.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from conformance.peers.http_server import Request, Response, serve_http

KEY = "sk-conformance-model"


def words(text: str) -> str:
    """An answer in words, in pieces of a few letters."""
    pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
    return "".join(_delta({"content": piece}) for piece in pieces)


def tool_call(call_id: str, name: str, arguments: dict[str, object]) -> str:
    """A call of a tool, whose arguments come in two pieces."""
    text = json.dumps(arguments)
    head = {
        "index": 0,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": text[:3]},
    }
    rest = {"index": 0, "function": {"arguments": text[3:]}}
    return _delta({"tool_calls": [head]}) + _delta({"tool_calls": [rest]})


def _delta(delta: dict[str, Any]) -> str:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
    return f"data: {json.dumps(chunk)}\n\n"


@dataclass
class ChatService:
    """The model.

    Attributes:
        answers: what it answers next: a stream, or a status.
        asked: the bodies of what it was asked.
        tool_asked: the bodies that the tool got.
    """

    answers: list[str | int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    tool_asked: list[Any] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: Request) -> Response:
        """Answers one request."""
        if request.path == "/tool":
            self.tool_asked.append(json.loads(request.body))
            return Response(200, b'{"colour": "blue"}', "application/json")
        if request.path != "/v1/chat/completions":
            return Response(404)
        if request.header("Authorization") != f"Bearer {KEY}":
            return Response(401)
        self.asked.append(json.loads(request.body))
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return Response(answer)
        return Response(200, f"{answer}data: [DONE]\n\n".encode(), "text/event-stream")


@asynccontextmanager
async def open_chat_service() -> AsyncIterator[ChatService]:
    """It on a free port."""
    service = ChatService()
    async with serve_http(service.handle) as port:
        service.port = port
        yield service
