"""Transfers that we ask the far end for (REFER from us), blind and attended, and how they can end."""

from __future__ import annotations

from urllib.parse import unquote

from conformance.expect import ABSENT, TEXT, check, containing, one_of, require
from conformance.peers.sip_call import Headers
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.scenarios.holds import held
from conformance.world import World

CAROL = "sip:carol@example.com"
TERMINATED = "terminated;reason=noresource"


async def _up(world: World) -> Phone:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    await picked_up(phone)
    return phone


async def _referred(
    phone: Phone, body: dict[str, object], *, kind: str = "blind", **fields: object
) -> SipMessage:
    """Has the server ask for a transfer: 202, leg.transfer_initiated, and the REFER, not answered yet."""
    world = phone.world
    await world.rest(
        "POST", f"{phone.path}/transfer", body, status=202, expect={"status": "transfer_initiated"}
    )
    refer = await phone.call.request("REFER")
    expected = {
        "kind": kind,
        "target": body["target"],
        "replaces_leg_id": body.get("replaces_leg_id", ABSENT),
        **fields,
    }
    await world.event("leg.transfer_initiated", expected, leg_id=phone.leg_id)
    require(refer.to_tag != "", "REFER: To", "a tag", refer.header("To"))
    check("REFER: Referred-By", refer.header("Referred-By"), containing("<sip:"))
    return refer


async def _told(
    phone: Phone, fragment: str, kind: str, *, state: str = "active;expires=60", **fields: object
) -> None:
    """Tells the server how the transfer goes and waits for the event."""
    await phone.call.notify(fragment, state=state)
    await phone.call.response(200, "NOTIFY")
    status, _, reason = fragment.partition(" ")
    expected = {"status_code": int(status), "reason": reason, **fields}
    await phone.world.event(f"leg.transfer_{kind}", expected, leg_id=phone.leg_id)


@scenario("app_id is in every event of a transfer, ours and theirs, and in a failed hold and in text")
async def app_id_of_transfers(world: World) -> None:
    phone = await answered(world, headers=[("X-App-ID", "shop")])
    app = {"app_id": "shop"}
    refer = await _referred(phone, {"target": CAROL}, **app)
    await phone.call.reply(refer, 202)
    await _told(phone, "100 Trying", "progress", **app)
    await _told(phone, "486 Busy Here", "failed", state=TERMINATED, **app)
    await phone.call.refer(f"<{CAROL}>")
    await world.event("leg.transfer_requested", app, leg_id=phone.leg_id)
    await world.rest("POST", f"{phone.path}/transfer/decline", status=202)
    await phone.call.response(603, "REFER")
    await world.event("leg.transfer_failed", app, leg_id=phone.leg_id)
    await world.rest("POST", f"{phone.path}/hold", status=202)
    offer = await phone.call.request("INVITE")
    await phone.call.reply(offer, 488)
    await phone.call.request("ACK")
    failed = {"command": "hold", "error": TEXT, **app}
    await world.event("leg.command_failed", failed, leg_id=phone.leg_id)
    refer = await _referred(phone, {"target": CAROL}, **app)
    await phone.call.reply(refer, 202)
    await _told(phone, "200 OK", "completed", state=TERMINATED, **app)
    await phone.is_hung_up("transfer_completed")


@scenario("Blind transfer: REFER, 202, NOTIFY 100, 180, 200: progress, completed and BYE")
async def transfer_blind(world: World) -> None:
    phone = await _up(world)
    refer = await _referred(phone, {"target": CAROL})
    check("REFER: Refer-To", refer.header("Refer-To"), f"<{CAROL}>")
    check("REFER: User-Agent", refer.header("User-Agent"), None)
    await phone.call.reply(refer, 202)
    await _told(phone, "100 Trying", "progress")
    await _told(phone, "180 Ringing", "progress")
    await world.leg_state(phone.leg_id, state="connected")
    await _told(phone, "200 OK", "completed", state=TERMINATED)
    await phone.is_hung_up("transfer_completed")
    world.order(
        ("leg.transfer_initiated", phone.leg_id),
        ("leg.transfer_progress", phone.leg_id),
        ("leg.transfer_completed", phone.leg_id),
        ("leg.disconnected", phone.leg_id),
    )
    await world.leg_is_gone(phone.leg_id)


@scenario("Attended transfer: Refer-To carries Replaces of the other leg; both legs end, this one first")
async def transfer_attended(world: World) -> None:
    phone = await _up(world)
    consult = await answered(world, "call2")
    target = f"sip:call2@{world.ua.host_port}"
    body: dict[str, object] = {"target": target, "replaces_leg_id": consult.leg_id}
    refer = await _referred(phone, body, kind="attended")
    value = refer.must("Refer-To")
    require(value.startswith(f"<{target}?") and value.endswith(">"), "Refer-To", f"<{target}?…>", value)
    check("Refer-To: escaped", ";" in value or " " in value, False)
    replaces = unquote(value.split("?Replaces=")[1].rstrip(">"))
    call = consult.call
    check("Replaces", replaces, f"{call.call_id};to-tag={call.local_tag};from-tag={call.remote_tag}")
    await phone.call.reply(refer, 202)
    await _told(phone, "200 OK", "completed", state=TERMINATED)
    await phone.is_hung_up("transfer_completed")
    await consult.is_hung_up("transfer_completed")
    ends = [f["leg_id"] for f in world.vsi.frames.items() if f.get("type") == "leg.disconnected"]
    check("order of the ends", ends, [phone.leg_id, consult.leg_id])


@scenario("Attended transfer of legs on hold, over VSI: held legs may be transferred and replaced")
async def transfer_held(world: World) -> None:
    phone, consult = await _up(world), await answered(world, "call2")
    for each in (phone, consult):
        await held(each)
    await world.command(
        "leg_transfer",
        {"id": phone.leg_id, "target": CAROL, "replaces_leg_id": consult.leg_id},
        {"status": "transfer_initiated"},
    )
    await phone.call.reply(await phone.call.request("REFER"), 202)
    await world.event("leg.transfer_initiated", leg_id=phone.leg_id, kind="attended")
    await _told(phone, "200 OK", "completed", state=TERMINATED)
    await phone.is_hung_up("transfer_completed")
    await consult.is_hung_up("transfer_completed")


@scenario("Transfers that fail: REFER refused, the new call busy, no answer; the call goes on, with audio")
async def transfer_failed(world: World) -> None:
    phone = await _up(world)
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 603)
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=603)
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 202)
    await _told(phone, "100 Trying", "progress")
    await _told(phone, "486 Busy Here", "failed", state=TERMINATED)
    await world.leg_state(phone.leg_id, state="connected")
    (await phone.hears(200)).is_steady()
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 202)
    await phone.call.bye()
    await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    check("leg.transfer_completed", world.count("leg.transfer_completed"), 0)


async def _early_notify(phone: Phone) -> None:
    """The NOTIFY overtakes the 202."""
    refer = await _referred(phone, {"target": CAROL})
    await _told(phone, "100 Trying", "progress")
    await phone.call.reply(refer, 202)
    await _told(phone, "404 Not Found", "failed", state=TERMINATED)


async def _any_2xx(phone: Phone) -> None:
    """A 200 to the REFER counts as accepted."""
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 200)
    await _told(phone, "480 Temporarily Unavailable", "failed", state=TERMINATED)


@scenario("NOTIFY before the 202 counts, a 200 to REFER counts, NOTIFY of nothing we know gets 481")
async def transfer_notify(world: World) -> None:
    phone = await _up(world)
    await phone.call.notify("200 OK", state=TERMINATED)
    await phone.call.response(481, "NOTIFY")
    await _early_notify(phone)
    await _any_2xx(phone)
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 202)
    await phone.call.notify("200 OK", state=TERMINATED, event="refer;id=4711")
    await phone.call.response(481, "NOTIFY")
    await phone.call.notify("200 OK", state=TERMINATED, event="presence")
    stranger = await phone.call.any_response("NOTIFY")
    check("NOTIFY of another event", stranger.status, one_of(481, 489))
    number = refer.cseq[0]
    await phone.call.notify("200 OK", state=TERMINATED, event=f"refer;id={number}")
    await phone.call.response(200, "NOTIFY")
    await world.event("leg.transfer_completed", leg_id=phone.leg_id, status_code=200)
    await phone.is_hung_up("transfer_completed")


@scenario("Refer-Sub: false in the answer to REFER ends the wait for NOTIFY: the transfer is taken as done")
async def transfer_without_notify(world: World) -> None:
    phone = await _up(world)
    refer = await _referred(phone, {"target": CAROL})
    await phone.call.reply(refer, 202, headers=[("Refer-Sub", "false")])
    await world.event("leg.transfer_completed", leg_id=phone.leg_id)
    await phone.is_hung_up("transfer_completed")


@scenario("A REFER that is challenged is sent again with the leg's credentials")
async def transfer_challenged(world: World) -> None:
    auth = {"username": "u1", "password": "pw"}
    phone, _ = await dialled(world, {"codecs": ["PCMU"], "auth": auth})
    await picked_up(phone)
    refer = await _referred(phone, {"target": CAROL})
    challenge: Headers = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')]
    await phone.call.reply(refer, 401, headers=challenge)
    second = await phone.call.request("REFER")
    check("second REFER: Authorization", second.header("Authorization"), containing('username="u1"'))
    check("second REFER: Refer-To", second.header("Refer-To"), refer.header("Refer-To"))
    await phone.call.reply(second, 202)
    await _told(phone, "200 OK", "completed", state=TERMINATED)
    await phone.is_hung_up("transfer_completed")


@scenario("Transfers that are refused at once: bad targets before the leg is looked at, states, bad others")
async def transfer_refused(world: World) -> None:
    phone = await answered(world)
    nobody = "/v1/legs/00000000-0000-4000-8000-000000000000/transfer"
    bad: tuple[object, ...] = (
        {},
        {"target": ""},
        {"target": "nonsense"},
        {"target": "sip:"},
        {"target": "http://x/"},
        {"target": "sip:a@b\r\nX-Evil: 1"},
        {"target": 5},
        "{",
    )
    for body in bad:
        assert isinstance(body, dict | str)
        for path in (nobody, f"{phone.path}/transfer"):
            await world.rest("POST", path, body, status=400)
    itself = {"target": CAROL, "replaces_leg_id": phone.leg_id}
    await world.rest("POST", f"{phone.path}/transfer", itself, status=400)
    await world.rest("POST", nobody, {"target": CAROL}, status=404, expect={"error": "leg not found"})
    other = await ringing(world, "call2")
    await world.rest("POST", f"{other.path}/transfer", {"target": CAROL}, status=409)
    for leg_id in ("nobody", other.leg_id):
        body = {"target": CAROL, "replaces_leg_id": leg_id}
        await world.rest("POST", f"{phone.path}/transfer", body, status=409)
    await world.command_fails("leg_transfer", {"id": phone.leg_id}, 400, TEXT)
    await phone.call.silence(0.3)
    await world.no_event("leg.transfer_initiated", for_s=0.0)
    await phone.hang_up()
