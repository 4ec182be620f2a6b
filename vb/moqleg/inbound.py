"""Sessions that come in: from a request to a leg that is connected at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from vb.errors import VbError
from vb.log import StrangersLog
from vb.mixer.columns import PlaneFull
from vb.moq.codes import SessionCode
from vb.moqleg.leg import MoqLeg, opus_over_moq
from vb.moqleg.request import read_moq_request
from vb.moqleg.talk import Talk
from vb.quic.session import Receiver, Refusal, Request, Session
from vb.web.hooks import make_hook
from vb.wsleg.asked import check_asked_leg
from vb.wsleg.losses import Losses
from vb.wsleg.request import AskedLeg, kept_headers

if TYPE_CHECKING:
    from vb.moqleg.kind import MoqLegs

strangers = StrangersLog(__name__)


def accept_session(kind: MoqLegs, request: Request, transport: Session) -> Receiver | Refusal:
    """Make a session a leg, or say why it cannot be one."""
    if kind.guard is not None:
        refusal = kind.guard(request)
        if refusal is not None:
            return refusal
    engine = kind.engine
    try:
        asked = read_moq_request(request.query)
        check_asked_leg(engine, asked, admit=True)
    except VbError as error:
        return Refusal(error.status, error.message)
    talk = Talk(transport, kind.outbox, Losses(kind.losses), engine.ids.u32(), text=asked.text)
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    headers = kept_headers(lines, authorization=not engine.config.http.api_tokens)

    async def run() -> None:
        await _run(kind, asked, headers, talk)

    engine.legs.start(run, name="moq leg")
    return talk.session


async def _run(kind: MoqLegs, asked: AskedLeg, headers: dict[str, str], talk: Talk) -> None:
    engine = kind.engine
    leg = MoqLeg(
        engine.legs,
        engine.plane,
        talk,
        opus_over_moq(engine.config.moq.opus_bitrate),
        leg_id=engine.ids.uuid(),
        app_id=asked.app_id or None,
        now=trio.current_time(),
        speech_detection=engine.config.speech.detection,
    )
    leg.headers = headers
    hook = make_hook(engine.web.policy, asked.webhook_url, asked.webhook_secret)
    if hook is not None:
        engine.hooks.set_leg(leg.id, hook)

    def announce() -> None:
        engine.legs.admit(leg)
        engine.rooms.prepare(asked.room_id, leg.app_id)
        leg.connect()
        if not leg.ended:
            engine.rooms.join_asked(leg, asked.room_id)

    try:
        await leg.serve(announce)
    except* PlaneFull as group:
        strangers.warning("moq session refused", problem=str(group.exceptions[0]))
        talk.session.fail(SessionCode.INTERNAL_ERROR, "there is no room")
