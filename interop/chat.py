"""Agents of the server's own whose answers come from aimock, a stand-in for chat APIs made by others.

`INTEROP_AIMOCK` names its program `llmock` (npm: `@copilotkit/aimock`, tried: 1.43.0). Voices and ears are
stand-ins of our own, so that only words go to the model and come from it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from conformance.peers.chat_service import ChatService, open_chat_service
from conformance.peers.sip_ua import open_udp
from conformance.peers.stt_service import KEY as EARS_KEY
from conformance.peers.stt_service import open_stt_service
from conformance.peers.voice_services import KEY as VOICE_KEY
from conformance.peers.voice_services import open_voice_services
from interop.application import Application, answer, application
from interop.processes import reaped, tail_of
from interop.report import NotRun, Report, run_peer
from interop.server import running_server
from interop.speech import Phone, calling

START_S = 30.0
ANSWER_S = 15.0
KEY = "sk-interop"
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "greet me"}, "response": {"content": "Good day to you. How are you?"}},
    {
        "match": {"userMessage": "colour of the sky", "hasToolResult": False},
        "response": {"toolCalls": [{"id": "call-1", "name": "look", "arguments": {"at": "sky"}}]},
    },
    {
        "match": {"userMessage": "colour of the sky", "toolResultContains": "blue"},
        "response": {"content": "The sky is blue."},
    },
    {
        "match": {"userMessage": "fly away", "hasToolResult": False},
        "response": {"toolCalls": [{"id": "call-2", "name": "fly", "arguments": {}}]},
    },
    {
        "match": {"userMessage": "fly away", "toolResultContains": "no tool"},
        "response": {"content": "I cannot fly."},
    },
    {
        "match": {"userMessage": "too many"},
        "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"userMessage": "broken"},
        "response": {"error": {"message": "oops", "type": "server_error"}, "status": 500},
    },
    {"match": {"userMessage": "lost line"}, "response": {"content": "x"}, "chaos": {"disconnectRate": 1}},
    {"match": {"userMessage": "gibberish"}, "response": {"content": "x"}, "chaos": {"malformedRate": 1}},
    {
        "match": {"userMessage": "good night"},
        "response": {
            "blocks": [
                {"type": "text", "text": "Sleep well."},
                {"type": "toolCall", "id": "call-3", "name": "hangup", "arguments": {}},
            ]
        },
    },
]
FAULTS = {
    "too many": "rate_limited",
    "broken": "service_unavailable",
    "lost line": "retryable",
    "gibberish": "unknown",
}
"""What of the model's failure is told, by what it was asked."""


def find_aimock() -> str:
    """Return the program.

    Raises:
        NotRun: none is named.
    """
    found = os.environ.get("INTEROP_AIMOCK")  # noqa: TID251 - says where a peer is, sets nothing of vb
    if not found:
        raise NotRun("INTEROP_AIMOCK names no llmock (npm install @copilotkit/aimock)")
    return found


@asynccontextmanager
async def running_aimock(program: str, folder: Path, fixtures: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A chat API with some answers for the time of the block; yields its address.

    Raises:
        NotRun: it does not start.
    """
    answers = folder / "fixtures.json"
    await trio.Path(answers).write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    arguments = ["--port", str(port), "--fixtures", str(answers), "--chunk-size", "5", "--latency", "10"]
    environment = {**os.environ, "AIMOCK_API_KEYS": KEY}  # noqa: TID251 - a subprocess keeps PATH and the like
    with (folder / "aimock.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [program, *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    async with reaped(process):
        url = f"http://127.0.0.1:{port}"
        if not await _answers(url):
            raise NotRun(f"aimock does not start: {tail_of(folder / 'aimock.log')}")
        yield url
        process.terminate()


async def _answers(url: str) -> bool:
    with trio.move_on_after(START_S):
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    return (await client.get(f"{url}/health")).status_code == 200
                except httpx.TransportError:
                    await trio.sleep(0.1)
    return False


def _told(app: Application, phone: Phone, kind: str) -> list[Mapping[str, Any]]:
    return [event for event in app.events if event["type"] == kind and event.get("leg_id") == phone.leg_id]


async def ask(app: Application, phone: Phone, text: str) -> list[str]:
    """Ask the agent something and wait for the end of its turn; returns what it said."""
    turns = len(_told(app, phone, "agent.turn"))
    said = len(_told(app, phone, "agent.agent_response"))
    await app.command("leg_agent_message", id=phone.leg_id, message=text, respond=True)
    await app.wait(lambda: len(_told(app, phone, "agent.turn")) > turns, ANSWER_S)
    return [event["text"] for event in _told(app, phone, "agent.agent_response")[said:]]


async def check_words(app: Application, phone: Phone, model: str, report: Report) -> None:
    """Text, streamed in pieces, and what the model was asked."""
    said = await ask(app, phone, "Please greet me.")
    report.equal(" ".join(said), "Good day to you. How are you?", "words of a stream")
    async with httpx.AsyncClient() as client:
        journal = await client.get(f"{model}/__aimock/journal", headers={"Authorization": f"Bearer {KEY}"})
    asked = journal.json()[-1]["body"]
    report.equal((asked["model"], asked["stream"]), ("m-1", True), "model and stream")
    roles = [(line["role"], line["content"]) for line in asked["messages"]]
    report.equal(roles, [("system", "Be brief."), ("user", "Please greet me.")], "what it was told")


async def check_tools(app: Application, phone: Phone, tool: ChatService, report: Report) -> None:
    """A tool by HTTP, and one that does not exist."""
    said = await ask(app, phone, "What is the colour of the sky?")
    report.equal(said, ["The sky is blue."], "an answer with the result of a tool")
    report.equal(tool.tool_asked, [{"at": "sky"}], "the tool was asked once, with its arguments")
    report.equal(await ask(app, phone, "Can you fly away?"), ["I cannot fly."], "an unknown tool")
    errors = [event["part"] for event in _told(app, phone, "agent.error")]
    report.equal(errors, ["tool"], "is told of")


async def check_faults(app: Application, phone: Phone, report: Report) -> None:
    """Every fault of the model is told, spoken of, and survived."""
    for text, category in FAULTS.items():
        before = len(_told(app, phone, "agent.error"))
        said = await ask(app, phone, text)
        errors = [(event["part"], event["category"]) for event in _told(app, phone, "agent.error")[before:]]
        report.equal(errors, [("model", category)], f"the fault {text!r}")
        report.equal(said, ["Sorry, I cannot answer that now."], f"what is said to {text!r}")
        report.equal(
            " ".join(await ask(app, phone, "Please greet me.")), "Good day to you. How are you?", "goes on"
        )


async def run(report: Report) -> None:
    """Run all of it against a server of this checkout.

    Raises:
        NotRun: there is no aimock.
    """
    program = find_aimock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interop-chat-")))
        model = await stack.enter_async_context(running_aimock(program, folder, FIXTURES))
        voices = await stack.enter_async_context(open_voice_services())
        ears = await stack.enter_async_context(open_stt_service())
        tool = await stack.enter_async_context(open_chat_service())
        settings = {
            "VB_FETCH_ALLOW": "127.0.0.1/32",
            "OPENAI_BASE_URL": f"{model}/v1",
            "OPENAI_API_KEY": KEY,
            "VB_AGENT_MODEL": "m-1",
            "AWS_ACCESS_KEY_ID": "AKIDVOICE",
            "AWS_SECRET_ACCESS_KEY": VOICE_KEY,
            "AWS_REGION": "eu-west-3",
            "VB_AWS_BASE_URL": voices.url,
            "DEEPGRAM_API_KEY": EARS_KEY,
            "VB_DEEPGRAM_BASE_URL": ears.url,
        }
        server = await stack.enter_async_context(running_server(folder, settings))
        app = await stack.enter_async_context(application(server.vsi_url, {"speech": answer}))
        ua = await stack.enter_async_context(open_udp((server.sip_host, server.sip_port)))
        phone = await stack.enter_async_context(calling(server, app, ua, "one", "PCMU"))
        await app.command(
            "leg_agent_local",
            id=phone.leg_id,
            voice="Joanna",
            voice_provider="aws",
            transcript_provider="deepgram",
            instructions="Be brief.",
            tools=["hangup", {"name": "look", "description": "tells a colour", "url": f"{tool.url}/tool"}],
        )
        await app.wait_for(phone.leg_id, "agent.connected")
        await check_words(app, phone, model, report)
        await check_tools(app, phone, tool, report)
        await check_faults(app, phone, report)
        report.equal(await ask(app, phone, "Then good night."), ["Sleep well."], "a goodbye before a tool")
        ended = await app.wait_for(phone.leg_id, "leg.disconnected")
        report.equal(ended and ended["cdr"]["reason"], "api_hangup", "hangup ends the call")  # type: ignore[index]  # an object
        report.equal(app.failures, [], "what the application was told of failures")


def main() -> int:
    """Run this peer alone."""
    report = Report("chat")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
