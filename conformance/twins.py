"""REST requests as VSI commands, so that one scenario can be played over either.

A scenario in `OVER_VSI` has a twin that ends in ``_vsi``: its requests go as commands, wherever there is one,
and a status of 400 and more is the code of the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from conformance.registry import Body, Scenario
from conformance.surface import operation

if TYPE_CHECKING:
    from conformance.world import World

OVER_VSI = (
    "agent_fields",
    "amd_limits",
    "bridge_directions",
    "codec_of_each",
    "dtls_out",
    "hook_routing",
    "in_reject",
    "out_auth",
    "out_codecs",
    "out_identity",
    "out_uri",
    "play_fields",
    "preflight_fields",
    "rec_fields",
    "refer_fields",
    "room_dtmf",
    "room_dtmf_refused_at_creation",
    "room_mute_on_join",
    "room_rates",
    "room_routing_join",
    "speaking",
    "speaking_asked",
    "speech_fields",
    "srtp_words",
    "stt_fields",
    "webrtc_fields",
    "ws_out_formats",
)
"""What sends fields that no other scenario sends by a command."""

_OWNERS = ("legs", "rooms")
_EITHER = {
    "POST agent/elevenlabs": "agent_elevenlabs",
    "POST agent/vapi": "agent_vapi",
    "POST agent/pipecat": "agent_pipecat",
    "POST agent/deepgram": "agent_deepgram",
    "POST agent/ultravox": "agent_ultravox",
    "POST agent/local": "agent_local",
    "POST agent/message": "agent_message",
    "DELETE agent": "agent_stop",
    "POST play": "play_start",
    "DELETE play/{playbackID}": "play_stop",
    "PATCH play/{playbackID}": "play_volume",
    "POST record": "record_start",
    "DELETE record": "record_stop",
    "POST record/pause": "record_pause",
    "POST record/resume": "record_resume",
    "POST stt": "stt_start",
    "DELETE stt": "stt_stop",
    "POST tts": "tts",
}
_LEGS = {
    "POST dtmf": "send_leg_dtmf",
    "POST dtmf/accept": "accept_leg_dtmf",
    "POST dtmf/reject": "reject_leg_dtmf",
    "POST answer": "answer_leg",
    "POST ring": "leg_ring",
    "POST early-media": "leg_early_media",
    "POST hold": "hold_leg",
    "DELETE hold": "unhold_leg",
    "POST mute": "mute_leg",
    "DELETE mute": "unmute_leg",
    "POST deaf": "deaf_leg",
    "DELETE deaf": "undeaf_leg",
    "PATCH role": "set_leg_role",
    "POST rtt": "send_leg_rtt",
    "POST rtt/accept": "accept_leg_rtt",
    "POST rtt/reject": "reject_leg_rtt",
    "POST amd": "leg_amd_start",
    "POST stt/finalize": "leg_stt_finalize",
    "POST transfer": "leg_transfer",
    "POST transfer/accept": "accept_transfer",
    "POST transfer/progress": "progress_transfer",
    "POST transfer/complete": "complete_transfer",
    "POST transfer/decline": "decline_transfer",
    "POST tts/preflight": "leg_tts_preflight",
    "POST tts/{ttsID}/commit": "leg_tts_commit",
    "DELETE tts/{ttsID}": "leg_tts_discard",
    "POST ice-candidates": "webrtc_add_candidate",
    "GET ice-candidates": "webrtc_get_candidates",
}
_ROOMS = {
    "POST bridges": "bridge_create",
    "GET bridges": "bridge_list",
    "GET bridges/{bridgeID}": "bridge_get",
    "PATCH bridges/{bridgeID}": "bridge_update",
    "DELETE bridges/{bridgeID}": "bridge_delete",
    "POST legs": "add_leg_to_room",
    "DELETE legs/{legID}": "remove_leg_from_room",
    "GET routing": "room_routing_get",
    "PUT routing": "room_routing_set",
    "PATCH routing": "room_routing_update",
}
_WHOLE = {
    "POST /v1/legs": "create_leg",
    "GET /v1/legs": "list_legs",
    "GET /v1/legs/{id}": "get_leg",
    "DELETE /v1/legs/{id}": "delete_leg",
    "POST /v1/rooms": "create_room",
    "GET /v1/rooms": "list_rooms",
    "GET /v1/rooms/{id}": "get_room",
    "DELETE /v1/rooms/{id}": "delete_room",
    "POST /v1/webrtc/offer": "webrtc_offer",
}
_FIRST = {"set_leg_role": "leg_id"} | {
    name: "room_id" for name in _ROOMS.values() if name != "room_routing_get"
}
"""Commands whose first id is not called id."""
_SECOND = {"playbackID": "playback_id", "ttsID": "tts_id", "bridgeID": "bridge_id", "legID": "leg_id"}
_BRIDGE = {"id": "bridge_id", "room_id": "peer_room_id"}


def _split(operation_name: str) -> tuple[str, str]:
    method, _, path = operation_name.partition(" ")
    owner, _, rest = path.removeprefix("/v1/").partition("/{id}/")
    return owner, f"{method} {rest}"


def command_of(operation_name: str) -> str | None:
    """The command that does what an operation does."""
    whole = _WHOLE.get(operation_name)
    if whole is not None:
        return whole
    owner, rest = _split(operation_name)
    if owner not in _OWNERS:
        return None
    if rest in _EITHER:
        return f"{owner.removesuffix('s')}_{_EITHER[rest]}"
    return (_LEGS if owner == "legs" else _ROOMS).get(rest)


def as_command(method: str, path: str, body: object) -> tuple[str, dict[str, object]] | None:
    """A request as a command and its payload; None where there is no such command, or no such payload."""
    name = operation(method, path)
    command = command_of(name)
    if command is None or "?" in path or not (body is None or isinstance(body, Mapping)):
        return None
    payload = dict(body or {})
    if command == "bridge_create":
        payload = {_BRIDGE.get(key, key): value for key, value in payload.items()}
    elif command == "webrtc_add_candidate":
        payload = {"candidate": payload}
    words, shape = path.split("/"), name.partition(" ")[2].split("/")
    for word, part in zip(words, shape, strict=True):
        if part.startswith("{"):
            key = part.strip("{}")
            payload[_FIRST.get(command, "id") if key == "id" else _SECOND[key]] = unquote(word)
    return command, payload


def twin(item: Scenario) -> Scenario:
    """The scenario with its requests over VSI."""

    async def body(world: World) -> None:
        world.over_vsi = True
        await item.body(world)

    return Scenario(
        f"{item.name}_vsi",
        f"Over VSI: {item.what}",
        _named(body, item.body),
        item.env,
        item.own_server,
        item.timeout_s,
        item.needs,
    )


def _named(body: Body, original: Body) -> Body:
    body.__doc__ = original.__doc__
    return body


def add_twins(scenarios: dict[str, Scenario]) -> None:
    """Puts a twin beside each scenario of `OVER_VSI`."""
    for name in OVER_VSI:
        made = twin(scenarios[name])
        scenarios[made.name] = made
