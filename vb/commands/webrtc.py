"""Commands of WebRTC: an offer becomes a leg, and candidates go both ways."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field

from vb.commands.params import LegRef
from vb.commands.registry import Route, command
from vb.commands.views import IceCandidate, Status, WebRtcAnswer, WebRtcCandidates
from vb.engine import Engine
from vb.errors import BadRequest
from vb.legs.capabilities import Capability, TrickledCandidate
from vb.parameters import Params
from vb.rtcleg.kind import RtcLegs
from vb.rtcleg.leg import RtcLeg

MAX_SDP_CHARS = 65_536


class WebRtcOffer(Params):
    """An offer of a browser."""

    sdp: str = Field(description="the offer, with candidates or without", max_length=MAX_SDP_CHARS)
    app_id: str | None = Field(default=None, description="word to filter events by", max_length=256)
    speech_detection: bool | None = Field(
        default=None,
        description="whether speaking events are told of a new leg; absent: SPEECH_DETECTION_ENABLED",
    )
    max_playback_rate: Literal[16000, 48000] | None = Field(
        default=None,
        description="highest sample rate in Hz at which the browser will be heard, which it is told; "
        "absent: DEFAULT_SAMPLE_RATE, and in a further offer as before, or its room's rate if that is higher",
    )
    leg_id: str | None = Field(
        default=None,
        description="the WebRTC leg whose session goes on with this offer, an ICE restart for instance; "
        "absent: a new leg",
    )


class IceCandidateInit(Params):
    """An ICE candidate, as scripts in browsers have it."""

    candidate: str = Field(description="its text; empty for the end of candidates", max_length=1024)
    sdpMid: str | None = Field(default=None, description="name of its media line", max_length=256)  # noqa: N815 - the browsers' spelling
    sdpMLineIndex: int | None = Field(default=None, description="position of its media line", ge=0)  # noqa: N815 - the browsers' spelling
    usernameFragment: str | None = Field(  # noqa: N815 - the browsers' spelling
        default=None, description="generation that it belongs to", max_length=256
    )


class AddCandidate(LegRef):
    """A candidate of the far end."""

    candidate: IceCandidateInit


@command("webrtc_offer", rest=Route("POST", "/v1/webrtc/offer", body=True), errors=(400, 404, 500, 501, 503))
async def webrtc_offer(engine: Engine, p: WebRtcOffer) -> WebRtcAnswer:
    """Answer a browser's offer with a new leg.

    Answered at once; `leg.connected` tells when media is up. The leg may join a room right away. Candidates
    that are found later are read with webrtc_get_candidates. Opus is the only codec.
    """
    if not p.sdp.strip():
        raise BadRequest("sdp: is required")
    if p.leg_id:
        known = engine.legs.get(p.leg_id)
        if not isinstance(known, RtcLeg):
            raise known.decline(Capability.CANDIDATES)
        sdp = known.renegotiate(p.sdp.encode(), p.max_playback_rate)
        return WebRtcAnswer(leg_id=known.id, sdp=sdp.decode())
    kind = cast("RtcLegs", engine.kinds.get("webrtc"))
    leg, sdp = await kind.offer(p.sdp, p.app_id, p.speech_detection, p.max_playback_rate)
    return WebRtcAnswer(leg_id=leg.id, sdp=sdp.decode())


@command(
    "webrtc_add_candidate",
    rest=Route("POST", "/v1/legs/{id}/ice-candidates", body=True, body_field="candidate"),
    errors=(400, 404, 500),
)
async def webrtc_add_candidate(engine: Engine, p: AddCandidate) -> Status:
    """Give a WebRTC leg a candidate of its far end.

    Candidates of other media lines than the audio, and of unknown types, are taken and not used.
    """
    given = p.candidate
    engine.legs.get(p.id).add_candidate(
        TrickledCandidate(given.candidate, given.sdpMid, given.sdpMLineIndex, given.usernameFragment)
    )
    return Status(status="added")


@command("webrtc_get_candidates", rest=Route("GET", "/v1/legs/{id}/ice-candidates"), errors=(400, 404))
async def webrtc_get_candidates(engine: Engine, p: LegRef) -> WebRtcCandidates:
    """Take the server's candidates that were found since the last call.

    Ask again until `done` is true.
    """
    found, done = engine.legs.get(p.id).take_candidates()
    shown = [
        IceCandidate(
            candidate=item.text,
            sdpMid=item.mid,
            sdpMLineIndex=item.line_index,
            usernameFragment=item.username_fragment,
        )
        for item in found
    ]
    return WebRtcCandidates(candidates=shown, done=done)
