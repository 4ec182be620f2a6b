"""The application of the demonstration: it knows the server's REST and VSI, and nothing of its insides.

It does what a program of yours would do: create a room over REST, then answer every call into that room and
record it, told by the events of one WebSocket.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from vb.demo.problem import DemoFailed

ROOM: Final = "demo"
REST_TIMEOUT_S: Final = 5.0
TICK_MS: Final = 20
_SKIPPED: Final = "voiceblender_ticks_skipped"

Note = Callable[[str, str], None]
"""Called with who did something and what it was."""


class Application:
    """Brings callers together.

    Args:
        url: base URL of the server.
        callers: how many calls are expected.
        note: told of everything that happens.

    Attributes:
        gathered: set once everybody is in the room and the recording runs.
        over: set once everybody has left, the recording is complete and all calls are in the history.
        recording: where the recording lies.
    """

    def __init__(self, url: str, *, callers: int, note: Note) -> None:
        self.gathered = trio.Event()
        self.over = trio.Event()
        self.recording: Path | None = None
        self._url = url
        self._expected = callers
        self._note = note
        self._names: dict[str, str] = {}
        self._joined: set[str] = set()
        self._left: set[str] = set()
        self._stored: dict[str, str] = {}
        self._is_recording = False
        self._request_ids = itertools.count(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve callers until cancelled; started once calls may come in.

        Raises:
            DemoFailed: the server refused a command, or could not keep the recording.
        """
        async with httpx.AsyncClient(base_url=self._url, timeout=REST_TIMEOUT_S, trust_env=False) as rest:
            (await rest.post("/v1/rooms", json={"id": ROOM})).raise_for_status()
        async with open_websocket_url(self._url.replace("http", "ws", 1) + "/v1/vsi") as vsi:
            while True:
                frame = json.loads(await vsi.get_message())
                if frame["type"] == "connected":
                    task_status.started()
                else:
                    await self._handle(vsi, frame)

    async def _handle(self, vsi: WebSocketConnection, frame: dict[str, Any]) -> None:
        kind, leg_id = frame["type"], frame.get("leg_id", "")
        who = self._names.get(leg_id, "room")
        match kind:
            case "leg.ringing":
                self._names[leg_id] = frame.get("app_id") or frame["from"]
                self._note(self._names[leg_id], "rings")
                if frame["leg_type"] == "sip_inbound":  # it is answered on its way into the room
                    await self._command(vsi, "add_leg_to_room", {"room_id": ROOM, "leg_id": leg_id})
            case "leg.connected":
                if frame["leg_type"] == "sip_inbound":
                    self._note(who, "is answered")
                else:  # nobody has to answer browsers and programs
                    self._names[leg_id] = frame["app_id"]
                    self._note(frame["app_id"], "is connected")
                    await self._command(vsi, "add_leg_to_room", {"room_id": ROOM, "leg_id": leg_id})
            case "leg.joined_room":
                self._note(who, "is in the room")
                self._joined.add(leg_id)
                if len(self._joined) == self._expected:
                    await self._command(vsi, "room_record_start", {"id": ROOM})
            case "recording.started":
                self._note(who, "is being recorded")
                self._is_recording = True
            case "recording.finished":
                self._recorded(frame)
            case "leg.disconnected":
                self._note(who, _farewell(frame))
                self._left.add(leg_id)
            case "call.recorded" if leg_id in self._names:  # and not what a killed server left in the folder
                self._note(who, "is in the call history")
                self._stored[leg_id] = frame["call_id"]
            case "error" | "leg.command_failed":
                raise DemoFailed(f"the server refused a command: {frame.get('data') or frame.get('error')}")
        self._take_stock()

    def _recorded(self, frame: dict[str, Any]) -> None:
        if frame.get("error") or not frame["file"]:
            raise DemoFailed(f"the recording was not kept: {frame.get('error') or 'nothing was recorded'}")
        self._note("room", "recording is complete")
        self.recording = Path(frame["file"])

    def _take_stock(self) -> None:
        if len(self._joined) == self._expected and self._is_recording:
            self.gathered.set()
        if len(self._left) == len(self._stored) == self._expected and self.recording is not None:
            self.over.set()

    async def stored_calls(self) -> list[dict[str, Any]]:
        """Return what the server's history lists of these calls; its folder may hold some of another day."""
        async with httpx.AsyncClient(base_url=self._url, timeout=REST_TIMEOUT_S, trust_env=False) as rest:
            answer = (await rest.get("/api/calls")).raise_for_status()
        ours = set(self._stored.values())
        return [call for call in answer.json()["results"] if call["callId"] in ours]

    async def held_up_ms(self) -> int:
        """Return how much audio the server gave up because the machine did not let it run."""
        async with httpx.AsyncClient(base_url=self._url, timeout=REST_TIMEOUT_S, trust_env=False) as rest:
            lines = (await rest.get("/metrics")).raise_for_status().text.splitlines()
        return round(sum(float(line.split()[1]) for line in lines if line.startswith(_SKIPPED)) * TICK_MS)

    async def _command(self, vsi: WebSocketConnection, name: str, payload: dict[str, str]) -> None:
        frame = {"type": name, "request_id": str(next(self._request_ids)), "payload": payload}
        await vsi.send_message(json.dumps(frame))


def _farewell(frame: dict[str, Any]) -> str:
    cdr, quality = frame["cdr"], frame.get("quality")
    text = f"hung up after {cdr['duration_answered']:.1f} s ({cdr['reason']})"
    if quality is not None:
        received, lost = quality["rtp_packets_received"], quality["rtp_packets_lost"]
        text += f"; the server got {received} packets, lost {lost}, MOS {quality['mos_score']:.2f}"
    return text
