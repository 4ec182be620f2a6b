"""A session of the vendor's own Python client, as a program: REST and VSI calls, one JSON line per check.

The client speaks asyncio, so `interop.vendor` starts this as a subprocess and reads the lines.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys

import voiceblender as vendor
from voiceblender import APIError, Client, Leg, Room, WebhookEventType
from voiceblender._hub import Subscription
from voiceblender._stream import EventStream
from voiceblender._vsi import IDPayload
from websockets.asyncio.server import ServerConnection, serve

EVENT_S = 10.0


def say(holds: bool, what: str, detail: object = "") -> None:
    """Print one check for `interop.vendor`."""
    print(json.dumps({"holds": bool(holds), "what": what, "detail": str(detail)}), flush=True)


async def expect(events: Subscription, kind: WebhookEventType, key: str, value: str) -> None:
    """The next event of a type for one leg, room or playback comes in time."""
    seen: list[str] = []
    try:
        async with asyncio.timeout(EVENT_S):
            while True:
                event = await events.next()
                if event.type == kind and getattr(event, key, None) == value:
                    say(True, f"event {kind.value}")
                    return
                seen.append(str(event.type))
    except TimeoutError:
        say(False, f"event {kind.value}", f"seen {seen}")


async def rooms(client: Client) -> Room:
    """Create, read, list, and the refusal of a second one with the same id."""
    request = vendor.CreateRoomRequest(id="vendor", sample_rate=16000, app_id="interop")
    room: Room = await client.create_room(request)
    say(room.id == "vendor" and room.sample_rate == 16000, "create_room", room)
    say((await client.get_room("vendor")).participants == [], "get_room")
    say([known.id for known in await client.list_rooms()] == ["vendor"], "list_rooms")
    try:
        await client.create_room(vendor.CreateRoomRequest(id="vendor"))
        say(False, "a second room with the same id is refused")
    except APIError as exc:
        say(exc.status_code == 409, "a second room with the same id is refused", exc)
    return room


async def media(leg: Leg, room: Room, events: Subscription) -> None:
    """Mute, deaf, playback and recording of a leg in a room."""
    await leg.mute()
    await expect(events, WebhookEventType.LEG_MUTED, "leg_id", leg.id)
    await leg.unmute()
    await expect(events, WebhookEventType.LEG_UNMUTED, "leg_id", leg.id)
    await leg.deaf_leg()
    await expect(events, WebhookEventType.LEG_DEAF, "leg_id", leg.id)
    await leg.undeaf_leg()
    await expect(events, WebhookEventType.LEG_UNDEAF, "leg_id", leg.id)
    playback = await room.play(vendor.play_tone("us_dial"))
    await expect(events, WebhookEventType.PLAYBACK_STARTED, "playback_id", playback.playback_id)
    await room.volume_play(playback.playback_id, vendor.VolumeRequest(volume=-3))
    await room.stop_play(playback.playback_id)
    await expect(events, WebhookEventType.PLAYBACK_FINISHED, "playback_id", playback.playback_id)
    await room.record(recording_request())
    await expect(events, WebhookEventType.RECORDING_STARTED, "room_id", room.id)
    await room.pause_record()
    await expect(events, WebhookEventType.RECORDING_PAUSED, "room_id", room.id)
    await room.resume_record()
    await expect(events, WebhookEventType.RECORDING_RESUMED, "room_id", room.id)
    await asyncio.sleep(0.5)  # something to record: a recording without audio leaves no file
    say((await room.stop_record()).file != "", "stop_record names the file")
    await expect(events, WebhookEventType.RECORDING_FINISHED, "room_id", room.id)


def recording_request() -> vendor.RecordingRequest:
    """A local recording. The client's model demands every field, so it sends empty ones for cloud storage."""
    empty = ("bucket", "region", "endpoint", "prefix", "access_key", "secret_key")
    return vendor.RecordingRequest.model_validate(
        {
            "storage": "file",
            "multi_channel": False,
            "gcs_bucket": "",
            "gcs_object_name_prefix": "",
            "filename": "",
            **{f"s3_{name}": "" for name in empty},
        }
    )


async def program(client: Client, stream: EventStream, events: Subscription) -> None:
    """A program on a WebSocket is called, hears a dial tone and its text, answers both, and hangs up."""
    heard: asyncio.Queue[str | bytes] = asyncio.Queue()
    leaving = asyncio.Event()

    async def agent(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "text", "text": "hello"}))

        async def hang_up() -> None:
            await leaving.wait()
            await socket.send(json.dumps({"type": "hangup"}))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hang_up())
            async for message in socket:
                heard.put_nowait(message)

    async with serve(agent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        leg = await stream.create_leg(
            vendor.CreateLegRequest(
                type="websocket",
                url=f"ws://127.0.0.1:{port}/agent",
                headers={"X-Call": "7"},
                sample_rate=24000,
                wire_format="json_base64",
                rtt=True,
            )
        )
        await expect(events, WebhookEventType.LEG_CONNECTED, "leg_id", leg.id)
        await expect(events, WebhookEventType.RTT_RECEIVED, "leg_id", leg.id)
        leg = await client.get_leg(leg.id)
        shown = (leg.type, leg.state, leg.headers)
        say(shown == ("websocket_out", "connected", {"X-Call": "7"}), "get_leg of a program", leg)
        await leg.send_rtt(vendor.RTTRequest(text="good day"))
        await leg.play(vendor.play_tone("us_dial"))
        texts: list[str] = []
        sizes: set[int] = set()
        async with asyncio.timeout(EVENT_S):
            while not (texts and sizes):
                frame = json.loads(await heard.get())
                if frame.get("type") == "text":
                    texts.append(frame["text"])
                elif "audio" in frame:
                    sizes.add(len(base64.b64decode(frame["audio"], validate=True)))
        say(texts == ["good day"], "text reaches a program", texts)
        say(sizes == {960}, "20 ms of a tone reach a program at 24 kHz", sizes)
        leaving.set()
        await expect(events, WebhookEventType.LEG_DISCONNECTED, "leg_id", leg.id)


async def session(base_url: str, callee: str) -> None:
    """The whole session: rooms by REST, an outgoing call by VSI, media by REST, and the end of both."""
    async with Client(base_url=base_url) as client:
        events = client.subscribe()
        stream = await client.events_stream()
        say(True, "VSI connected")
        room = await rooms(client)
        await expect(events, WebhookEventType.ROOM_CREATED, "room_id", "vendor")
        leg = await stream.create_leg(vendor.CreateLegRequest(type="sip", to=callee, app_id="interop"))
        await expect(events, WebhookEventType.LEG_RINGING, "leg_id", leg.id)
        await expect(events, WebhookEventType.LEG_CONNECTED, "leg_id", leg.id)
        leg = await client.get_leg(leg.id)
        say(leg.state == "connected" and leg.type == "sip_outbound", "get_leg", leg)
        await room.add_leg(vendor.AddLegRequest(leg_id=leg.id))
        await expect(events, WebhookEventType.LEG_JOINED_ROOM, "leg_id", leg.id)
        shown = await stream.get_room(IDPayload(id=room.id))
        say([known.id for known in shown.participants] == [leg.id], "get_room over VSI", shown)
        say([known.id for known in await client.list_legs()] == [leg.id], "list_legs")
        await media(leg, room, events)
        await leg.hangup(vendor.DeleteLegRequest())
        await expect(events, WebhookEventType.LEG_LEFT_ROOM, "leg_id", leg.id)
        await expect(events, WebhookEventType.LEG_DISCONNECTED, "leg_id", leg.id)
        await program(client, stream, events)
        await room.delete()
        await expect(events, WebhookEventType.ROOM_DELETED, "room_id", "vendor")
        say(await client.list_legs() == [] and await client.list_rooms() == [], "nothing is left")
        await stream.close()


def main() -> int:
    """`python -m interop.vendor_session BASE_URL CALLEE`."""
    asyncio.run(session(sys.argv[1], sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
