"""Unknown legs, rooms, playbacks and bridges: every operation and every command says so, and lives on."""

from __future__ import annotations

from conformance.expect import TEXT, Matcher, check, containing
from conformance.registry import scenario
from conformance.world import World

NOBODY = "00000000-0000-4000-8000-000000000000"
LEG, ROOM = "leg not found", "room not found"
TARGET: dict[str, object] = {"target": "sip:x@example.com"}
TONE: dict[str, object] = {"tone": "dial"}
VOLUME: dict[str, object] = {"volume": 1}
Row = tuple[str, str, dict[str, object] | None, int, object]

LEG_ROWS: tuple[Row, ...] = (
    ("GET", "", None, 404, LEG),
    ("DELETE", "", None, 404, LEG),
    ("PATCH", "/role", {"role": "x"}, 404, containing("not found")),
    ("POST", "/dtmf", {"digits": "1"}, 404, LEG),
    ("POST", "/dtmf", {}, 404, LEG),
    ("POST", "/dtmf/accept", None, 404, LEG),
    ("POST", "/dtmf/reject", None, 404, LEG),
    ("POST", "/rtt", {"text": "x"}, 404, LEG),
    ("POST", "/rtt/accept", None, 404, LEG),
    ("POST", "/rtt/reject", None, 404, LEG),
    ("POST", "/play", TONE, 404, LEG),
    ("POST", "/play", {}, 404, LEG),
    ("PATCH", "/play/pb-0", VOLUME, 404, TEXT),
    ("PATCH", "/play/pb-0", {"volume": 99}, 400, containing("volume")),
    ("DELETE", "/play/pb-0", None, 404, TEXT),
    ("POST", "/record", {}, 404, LEG),
    ("DELETE", "/record", None, 404, TEXT),
    ("POST", "/record/pause", None, 404, TEXT),
    ("POST", "/record/resume", None, 404, TEXT),
    ("POST", "/amd", {}, 404, LEG),
    ("POST", "/answer", None, 404, LEG),
    ("POST", "/ring", None, 404, LEG),
    ("POST", "/early-media", None, 404, LEG),
    ("POST", "/transfer", TARGET, 404, LEG),
    *(
        (method, f"/{what}", None, 404, LEG)
        for what in ("mute", "deaf", "hold")
        for method in ("POST", "DELETE")
    ),
)
ROOM_ROWS: tuple[Row, ...] = (
    ("GET", "", None, 404, ROOM),
    ("DELETE", "", None, 404, TEXT),
    ("GET", "/bridges", None, 404, ROOM),
    ("POST", "/bridges", {"room_id": "x"}, 404, containing(ROOM)),
    ("GET", "/bridges/b", None, 404, TEXT),
    ("PATCH", "/bridges/b", {"direction": "send"}, 404, TEXT),
    ("DELETE", "/bridges/b", None, 404, TEXT),
    ("GET", "/routing", None, 404, TEXT),
    ("PUT", "/routing", {"matrix": {}}, 404, TEXT),
    ("PATCH", "/routing", {"updates": []}, 404, TEXT),
    ("POST", "/play", TONE, 404, ROOM),
    ("PATCH", "/play/pb-0", VOLUME, 404, TEXT),
    ("DELETE", "/play/pb-0", None, 404, TEXT),
    ("POST", "/record", {}, 404, ROOM),
    ("DELETE", "/record", None, 404, TEXT),
    ("POST", "/record/pause", None, 404, TEXT),
    ("POST", "/record/resume", None, 404, TEXT),
    ("POST", "/legs", {"leg_id": NOBODY}, 400, TEXT),
    ("DELETE", f"/legs/{NOBODY}", None, 400, TEXT),
)


@scenario("REST: unknown leg and unknown room on every operation; nothing is made and nothing told")
async def rest_unknown(world: World) -> None:
    for kind, rows in (("legs", LEG_ROWS), ("rooms", ROOM_ROWS)):
        for method, path, body, status, error in rows:
            await world.rest(
                method, f"/v1/{kind}/{NOBODY}{path}", body, status=status, expect={"error": error}
            )
    check("rooms", await world.rest_list("/v1/rooms"), [])
    check("events", [f for f in world.vsi.frames.items() if "." in str(f.get("type"))], [])


_ID: dict[str, object] = {"id": NOBODY}
_PLAYBACK: dict[str, object] = {"id": NOBODY, "playback_id": "pb-0"}
_BRIDGE: dict[str, object] = {"room_id": NOBODY, "bridge_id": "b"}
COMMANDS: tuple[tuple[str, dict[str, object], int, str | Matcher], ...] = (
    *(
        (command, _ID, 404, LEG)
        for command in (
            "get_leg", "answer_leg", "delete_leg", "mute_leg", "unmute_leg", "deaf_leg", "undeaf_leg",
            "hold_leg", "unhold_leg", "accept_leg_dtmf", "reject_leg_dtmf", "accept_leg_rtt",
            "reject_leg_rtt", "leg_ring", "leg_early_media", "leg_amd_start", "leg_record_start",
        )
    ),
    *(
        (command, _ID, 404, TEXT)
        for command in (
            "leg_record_pause", "leg_record_resume", "leg_record_stop", "room_record_pause",
            "room_record_resume", "room_record_stop", "get_room", "delete_room", "room_routing_get",
            "room_record_start",
        )
    ),
    ("send_leg_dtmf", {**_ID, "digits": "1"}, 404, LEG),
    ("send_leg_rtt", {**_ID, "text": "x"}, 404, LEG),
    ("leg_transfer", {**_ID, **TARGET}, 404, LEG),
    ("add_leg_to_room", {"room_id": "sc-u", "leg_id": NOBODY}, 400, TEXT),
    ("remove_leg_from_room", {"room_id": "sc-u2", "leg_id": NOBODY}, 400, TEXT),
    ("bridge_list", {"room_id": NOBODY}, 404, ROOM),
    ("bridge_get", _BRIDGE, 404, TEXT),
    ("bridge_update", {**_BRIDGE, "direction": "send"}, 404, TEXT),
    ("bridge_delete", _BRIDGE, 404, TEXT),
    ("bridge_create", {"room_id": NOBODY, "peer_room_id": "y"}, 404, containing(ROOM)),
    ("room_routing_set", {"room_id": NOBODY, "matrix": {}}, 404, TEXT),
    ("room_routing_update", {"room_id": NOBODY, "updates": []}, 404, TEXT),
    ("set_leg_role", {"leg_id": NOBODY, "role": "x"}, 404, TEXT),
    ("leg_play_start", {**_ID, **TONE}, 404, LEG),
    ("leg_play_stop", _PLAYBACK, 404, TEXT),
    ("leg_play_volume", {**_PLAYBACK, **VOLUME}, 404, TEXT),
    ("room_play_start", {**_ID, **TONE}, 404, ROOM),
    ("room_play_stop", _PLAYBACK, 404, TEXT),
    ("room_play_volume", {**_PLAYBACK, **VOLUME}, 404, TEXT),
    ("accept_transfer", _ID, 404, TEXT),
    ("decline_transfer", _ID, 404, TEXT),
    ("progress_transfer", {**_ID, "status_code": 180}, 404, TEXT),
    ("complete_transfer", {**_ID, "success": True}, 404, TEXT),
)  # fmt: skip
EMPTY = {
    "leg_transfer": 400, "bridge_create": 400, "create_leg": 400, "add_leg_to_room": 400,
    "remove_leg_from_room": 400, "leg_play_start": 404, "room_play_start": 404, "mute_leg": 404,
    "delete_room": 404, "get_leg": 404, "set_leg_role": 404, "leg_record_stop": 404, "send_leg_dtmf": 404,
}  # fmt: skip


@scenario("VSI: every command on unknown legs and rooms, and with an empty payload")
async def vsi_unknown_ids(world: World) -> None:
    for command, payload, code, message in COMMANDS:
        await world.command_fails(command, payload, code, message)
    for command, code in EMPTY.items():
        await world.command_fails(command, {}, code)
    check("rooms", await world.rest_list("/v1/rooms"), [])
    check("events", [f for f in world.vsi.frames.items() if "event_id" in f], [])
