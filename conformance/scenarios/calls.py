"""The history of calls: what is listed, found, shown, deleted and kept over a restart; what is refused."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import trio

from conformance.expect import ANY, NUMBER, TEXT, UUID, check, containing, regex, require
from conformance.peers.http import HttpClient
from conformance.phones import answered
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World

ON = {"VB_DATABASE_URL": "(unset)"}
TOKEN = "conformance-token-of-calls"
MOMENT = regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STORED_S = 10.0


async def _calls_itself(world: World, **more: object) -> tuple[str, str]:
    """Holds a call of the server with itself until both legs are stored."""
    host, port = world.target.sip_address()
    body = {"type": "sip", "to": f"sip:desk@{host}:{port}", "from": "anna", **more}
    caller = str((await world.rest("POST", "/v1/legs", body, status=201))["id"])
    await world.event("leg.ringing", leg_id=caller)
    event = await world.event("leg.ringing", {"leg_id": UUID}, leg_type="sip_inbound")
    called = str(event["leg_id"])
    await world.rest("POST", f"/v1/legs/{called}/answer", status=202)
    for leg_id in (caller, called):
        await world.event("leg.connected", leg_id=leg_id, within_s=10)
    await world.rest("POST", f"/v1/legs/{called}/record", {}, status=200)
    await world.event("recording.started", leg_id=called)
    await trio.sleep(0.3)
    await world.rest("DELETE", f"/v1/legs/{caller}", status=202)
    for leg_id in (caller, called):
        await world.event("leg.disconnected", leg_id=leg_id, within_s=10)
        await world.event("call.recorded", leg_id=leg_id, call_id=leg_id, within_s=STORED_S)
    return caller, called


async def _ids(world: World, query: str) -> list[str]:
    page = await world.rest("GET", f"/api/calls{query}", status=200)
    results = page["results"]
    assert isinstance(results, list)
    check(f"/api/calls{query}: total", page["total"], len(results))
    return [str(call["callId"]) for call in results]


@scenario(
    "Calls that ended are listed, found by each filter, paged, shown with messages, events and recording",
    needs=("servers",),
)
async def calls_history(world: World) -> None:
    async with world.server(ON) as there:
        caller, called = await _calls_itself(
            there, metadata={"team": "red"}, headers={"X-Order": "17"}, ring_timeout=20, max_duration=60
        )
        whole = await there.rest(
            "GET",
            "/api/calls?sort=created",
            status=200,
            expect={"next": None, "previous": None, "total": 2, "results": [ANY, ANY]},
        )
        results = whole["results"]
        assert isinstance(results, list)
        outgoing, incoming = (
            next(call for call in results if call["callId"] == leg) for leg in (caller, called)
        )
        common = {
            "created": MOMENT,
            "joined": MOMENT,
            "ended": MOMENT,
            "billedDuration": regex(r"\d+(\.\d+)?s"),
        }
        check("incoming call", incoming, {**common, "endReason": "hangup", "recordingEnabled": True})
        check("incoming call", incoming, {"medium": {"sip": {"incoming": {}}}, "metadata": {"X-Order": "17"}})
        check("incoming call", incoming, {"sipDetails": {"terminationReason": "SIP_TERMINATION_NORMAL"}})
        check("outgoing call", outgoing, {**common, "endReason": "agent_hangup", "metadata": {"team": "red"}})
        check("outgoing call", outgoing, {"joinTimeout": "20s", "maxDuration": "60s", "agentId": None})
        check("outgoing call", outgoing, {"billingStatus": "BILLING_STATUS_BILLED", "summary": None})
        told = await there.rest(
            "GET", "/api/calls/details?search=anna&pageSize=1", status=200, expect={"total": 2}
        )
        for call in await _walk(there, told):
            leg = {"from": "anna", "direction": "inbound" if call["callId"] == called else "outbound"}
            check("details", call, {"leg": leg})
        nobody, day = "00000000-0000-4000-8000-000000000000", str(incoming["created"])[:10]
        for query, wanted in (
            ("?search=anna", {caller, called}),
            ("?search=an", set()),
            ("?metadata.team=red", {caller}),
            ("?metadata.team=red&metadata.X-Order=17", {caller}),
            ("?metadata.X-Order=17", {caller, called}),
            ("?metadata.team=blue", set()),
            (f"?agentIds={nobody}&agentIds={nobody}", set()),
            (f"?voiceId={nobody}", set()),
            ("?durationMin=0s&durationMax=60s", {caller, called}),
            ("?durationMin=60s", set()),
            (f"?fromDate={day}&toDate={day}", {caller, called}),
            ("?toDate=2001-01-01", set()),
            ("?timeOfDayStart=00:00:00&timeOfDayEnd=23:59:59", {caller, called}),
        ):
            check(f"/api/calls{query}", set(await _ids(there, query)), wanted)
        first = await there.rest(
            "GET", "/api/calls?pageSize=1", status=200, expect={"previous": None, "total": 2}
        )
        link = urlsplit(str(first["next"]))
        check("next", (link.scheme, link.netloc), ("http", f"{there.target.http[0]}:{there.target.http[1]}"))
        second = await there.rest("GET", f"{link.path}?{link.query}", status=200, expect={"next": None})
        back = urlsplit(str(second["previous"]))
        again = await there.rest("GET", f"{back.path}?{back.query}", status=200)
        check("page before", again["results"], first["results"])

        await there.rest(
            "GET",
            f"/api/calls/{called}",
            status=200,
            expect={"leg": {"from": "anna", "to": "desk", "direction": "inbound", "reason": "remote_bye"}},
        )
        await there.rest(
            "GET", f"/api/calls/{called}/messages", status=200, expect={"results": [], "total": 0}
        )
        await there.rest(
            "GET", f"/api/calls/{called}/quality", status=200, expect={"results": []}
        )  # too short
        await there.command("list_call_quality", {"id": called}, {"results": []})
        await there.command_fails("list_call_quality", {"id": "x"}, 404)
        events = await there.rest("GET", f"/api/calls/{called}/events", status=200, expect={"total": NUMBER})
        entries = events["results"]
        assert isinstance(entries, list)
        kinds = [entry["type"] for entry in entries if entry["sip"] is None]
        check("events", (kinds[0], kinds[-1]), ("leg.ringing", "leg.disconnected"))
        lines = [entry["sip"]["text"].split(" ")[0] for entry in entries if entry["sip"] is not None]
        require(lines[0] == "INVITE" and "BYE" in lines, "SIP messages", "from INVITE to BYE", lines)
        await _recording(there, called)

        for query in ("", "?pageSize=1"):
            page = await there.rest("GET", f"/api/calls/{called}/events{query}", status=200)
            require(page["total"] == len(entries), "events: total", len(entries), page["total"])
        await there.command("list_calls", {"pageSize": 1, "metadata": {"team": "red"}}, {"total": 1})
        await there.command(
            "list_call_details", {"metadata": {"team": "red"}}, {"results": [{"leg": {"legId": caller}}]}
        )
        await there.command("get_call", {"id": caller}, {"callId": caller, "leg": {"legId": caller}})
        await there.command("list_call_events", {"id": caller, "pageSize": 2}, {"results": [ANY, ANY]})
        await there.command("list_call_messages", {"id": caller}, {"total": 0})
        await there.command_fails("get_call", {"id": "x"}, 404)
        await there.rest("DELETE", f"/api/calls/{called}", status=200, expect={"status": "deleted"})
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/recording"), ("DELETE", "")):
            await there.rest(
                method, f"/api/calls/{called}{path}", status=404, expect={"error": "call not found"}
            )
        await there.command("delete_call", {"id": caller}, {"status": "deleted"})
        check("after deletion", await _ids(there, ""), [])


async def _walk(world: World, page: Mapping[str, object]) -> list[dict[str, object]]:
    """The calls of a page and of those that follow it."""
    found: list[dict[str, object]] = []
    while True:
        results = page["results"]
        assert isinstance(results, list)
        found += results
        if page["next"] is None:
            check("all pages", len(found), page["total"])
            return found
        link = urlsplit(str(page["next"]))
        page = await world.rest("GET", f"{link.path}?{link.query}", status=200)


async def _recording(world: World, call_id: str) -> None:
    path = f"/api/calls/{call_id}/recording"
    whole = await world.http.ask("GET", path)
    check(path, (whole.status, whole.header("content-type"), whole.body[:4]), (200, "audio/wav", b"RIFF"))
    for wanted, status, size in (
        ("bytes=4-11", 206, 8),
        ("bytes=-6", 206, 6),
        ("bytes=999999999-", 416, None),
    ):
        part = await world.http.ask("GET", path, None, (("Range", wanted),))
        check(f"{path} {wanted}", part.status, status)
        if size is not None:
            check(f"{path} {wanted}", len(part.body), size)
    tail = await world.http.ask("GET", path, None, (("Range", "bytes=4-11"),))
    check(f"{path}: part", tail.body, whole.body[4:12])


@scenario(
    "Malformed parameters of the list of calls are refused by name, and change nothing", needs=("servers",)
)
async def calls_refused(world: World) -> None:
    async with world.server(ON) as there:
        for name, values in {
            "agentIds": ("x", "1,2"),
            "cursor": ("x", "AAAA", "%00", "A" * 2000),
            "durationMax": ("90", "-", "1e3s", "90m"),
            "durationMin": ("s", "½s"),
            "fromDate": ("yesterday", "2026-02-30", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00+99:99"),
            "metadata": ("a", "{}"),
            "pageSize": ("0", "-1", "501", "ten", "9" * 30, "1.5"),
            "search": ("", "%22", "a" * 257, "a%00b", "*"),
            "sort": ("callId", "created;drop", "--created"),
            "timeOfDayEnd": ("24:00:00", "noon"),
            "timeOfDayStart": ("9", "09:60"),
            "toDate": ("2026-13-01", "0"),
            "voiceId": ("x",),
        }.items():
            for value in values:
                text = value if "%" in value else quote(value)
                await there.rest(
                    "GET", f"/api/calls?{name}={text}", status=400, expect={"error": containing(f"{name}: ")}
                )
        await there.rest(
            "GET", "/api/calls?metadata.a=%00", status=400, expect={"error": containing("metadata: ")}
        )
        for call_id in ("x", "00000000-0000-4000-8000-000000000000", "%00", "'--"):
            await there.rest("GET", f"/api/calls/{quote(call_id, safe='%')}", status=404)
        await there.rest("GET", "/api/calls?unknown=1", status=200, expect={"total": 0, "results": []})


@scenario(
    "Calls are shown to who has a token, in either header; the page that asks for it is open",
    needs=("servers",),
)
async def calls_access(world: World) -> None:
    async with world.server({**ON, "VB_API_TOKENS": TOKEN}) as there:
        client = HttpClient(*there.target.http)
        for headers, status in (
            ((), 401),
            ((("X-API-Key", "wrong"),), 401),
            ((("Authorization", "Bearer wrong"), ("X-API-Key", TOKEN)), 401),
            ((("X-API-Key", TOKEN),), 200),
            ((("Authorization", f"Bearer {TOKEN}"),), 200),
        ):
            reply = await client.ask("GET", "/api/calls", None, headers)
            check(f"/api/calls {headers}", reply.status, status)
        check(
            "X-API-Key elsewhere",
            (await client.ask("GET", "/v1/legs", None, (("X-API-Key", TOKEN),))).status,
            401,
        )
        page = await client.ask("GET", "/calls")
        check("/calls", (page.status, page.header("content-type")), (200, "text/html; charset=utf-8"))
        policy = page.header("content-security-policy") or ""
        require("default-src 'none'" in policy, "/calls: policy", "default-src 'none'", policy)
        require(b"//" not in page.body, "/calls", "nothing of another host", page.body[:400])
        script = await client.ask("GET", "/calls/main.js")
        check(
            "/calls/main.js",
            (script.status, script.header("content-type")),
            (200, "text/javascript; charset=utf-8"),
        )
        check("/calls/nothing", (await client.ask("GET", "/calls/nothing")).status, 404)
    async with world.boot({**ON, "ALLOWED_IPS": "192.0.2.7"}) as target:
        check("not allowed", (await HttpClient(*target.http).ask("GET", "/api/calls")).status, 403)


@scenario(
    "What is kept is as the settings say: headers, SIP, folder, retention, nothing at all", needs=("servers",)
)
async def calls_settings(world: World) -> None:
    folder = world.home / "kept-calls"
    settings: Mapping[str, str] = {
        **ON,
        "VB_DATA_DIR": str(folder),
        "VB_HISTORY_HEADERS": "X-Team",
        "VB_HISTORY_SIP": "off",
    }
    async with world.server(settings) as there:
        _, called = await _calls_itself(there, headers={"X-Team": "red", "X-Order": "17"})
        await there.rest("GET", f"/api/calls/{called}", status=200, expect={"metadata": {"X-Team": "red"}})
        call = await there.rest("GET", f"/api/calls/{called}", status=200)
        check("metadata", call["metadata"], {"X-Team": "red"})
        events = await there.rest("GET", f"/api/calls/{called}/events", status=200)
        entries = events["results"]
        assert isinstance(entries, list)
        check("SIP messages", [entry for entry in entries if entry["sip"] is not None], [])
        gone, _ = await _calls_itself(there, retention_policy="auto_delete")
        await there.rest("GET", f"/api/calls/{gone}", status=200, expect={"retentionPolicy": "auto_delete"})
    async with world.server(
        {**settings, "VB_RETENTION_DAYS": "30"}
    ) as there:  # the same folder, another process
        await there.rest("GET", f"/api/calls/{called}", status=200, expect={"callId": called})
    async with world.server({"VB_DATABASE_URL": "off"}) as there:
        await there.rest("GET", "/api/calls", status=501, expect={"error": containing("VB_DATABASE_URL")})
        await there.command_fails("list_calls", {}, 501, TEXT)
    for name, value in (
        ("VB_DATABASE_URL", "mysql://x/y"),
        ("VB_HISTORY_SIP", "some"),
        ("VB_RETENTION_DAYS", "-1"),
    ):
        code, output = await run_to_end(world.home / "refused-calls", {**ON, name: value})
        check(f"{name}={value}: exit code", code, 1)
        require(name in output, "output", f"a line naming {name}", output[-300:])


@scenario("A history that cannot be written is told, delays no call, and loses none", needs=("servers",))
async def calls_history_fails(world: World) -> None:
    folder = world.home / "locked-calls"
    async with world.server({**ON, "VB_DATA_DIR": str(folder)}) as there:
        await there.rest("GET", "/api/calls", status=200)
        lock = sqlite3.connect(folder / "calls.db", isolation_level=None, timeout=10)
        lock.execute("BEGIN EXCLUSIVE")
        host, port = there.target.sip_address()
        body = {"type": "sip", "to": f"sip:desk@{host}:{port}"}
        caller = str((await there.rest("POST", "/v1/legs", body, status=201))["id"])
        await there.rest("DELETE", f"/v1/legs/{caller}", status=202)
        await there.event("leg.disconnected", leg_id=caller)
        await there.event("history.failed", part="database", error=TEXT, within_s=STORED_S)
        await there.rest("GET", "/readyz", status=200, expect={"problems": [containing("call history")]})
        lock.execute("ROLLBACK")
        lock.close()
        await there.event("history.recovered", part="database", within_s=STORED_S)
        await there.event("call.recorded", leg_id=caller, within_s=STORED_S)
        await there.rest("GET", f"/api/calls/{caller}", status=200, expect={"endReason": "unjoined"})


def _writers(world: World) -> list[int]:
    """The processes of a server that write its history."""
    process = world.target.process
    assert process is not None
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            line = (stat.parent / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        if parent == process.pid and b"history" in line:
            found.append(int(stat.parent.name))
    return found


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@scenario(
    "The process that writes the history is killed: it is told, no call is lost or told twice; without one a "
    "thread writes",
    needs=("servers",),
)
async def calls_history_process(world: World) -> None:
    async with world.server({**ON, "VB_HISTORY_PROCESS": "true"}) as there:
        before = await _calls_itself(there)
        (writer,) = _writers(there)
        os.kill(writer, signal.SIGKILL)
        await there.event("history.failed", part="process", error=TEXT, within_s=STORED_S)
        after = await _calls_itself(there)
        await there.event("history.recovered", part="process", within_s=STORED_S)
        check("calls", set(await _ids(there, "")), {*before, *after})
        require(_writers(there) != [writer], "process", "another one", writer)
        ready = await there.rest("GET", "/readyz", status=200)
        check("/readyz", ready.get("problems", []), [])
        writers = _writers(there)
    for pid in writers:
        require(not _is_there(pid), "process", "gone with its server", pid)
    async with world.server({**ON, "VB_HISTORY_PROCESS": "false"}) as there:
        calls = await _calls_itself(there)
        check("calls", set(await _ids(there, "")), set(calls))
        check("processes", _writers(there), [])


@scenario(
    "A recorded room: who came late, left early or left last has the one recording, and can fetch it",
    needs=("servers",),
)
async def calls_of_rooms(world: World) -> None:
    async with world.server(ON) as there:
        first, last = [await answered(there, name, tone=500.0) for name in ("call1", "call2")]
        for phone in (first, last):
            await phone.join("hall")
        started = await there.rest("POST", "/v1/rooms/hall/record", {}, status=200)
        late = await answered(there, "call3", tone=800.0)
        await late.join("hall")
        await trio.sleep(0.3)
        await first.hang_up()
        await there.event("call.recorded", leg_id=first.leg_id, within_s=STORED_S)
        goes_on = {"file": started["file"], "roomId": "hall", "finished": False}
        path = f"/api/calls/{first.leg_id}"
        await there.rest("GET", path, status=200, expect={"leg": {"recordings": [goes_on]}})
        await there.rest("GET", f"{path}/recording", status=409)
        for phone in (late, last):
            await phone.hang_up()
            await there.event("call.recorded", leg_id=phone.leg_id, within_s=STORED_S)
        await _finished_for_all(there, [phone.leg_id for phone in (first, late, last)], str(started["file"]))


async def _finished_for_all(world: World, leg_ids: list[str], file: str) -> None:
    """Waits until the calls have the finished recording of their room."""
    sound = await trio.Path(file).read_bytes()
    for leg_id in leg_ids:
        found: list[dict[str, object]] = []
        for _ in range(100):
            found = await _recordings(world, leg_id)
            if found and found[0]["finished"]:
                break
            await trio.sleep(STORED_S / 100)
        check(f"recordings of {leg_id}", found, [{"file": file, "roomId": "hall", "finished": True}])
        audio = await world.http.ask("GET", f"/api/calls/{leg_id}/recording")
        check("recording: status and bytes", (audio.status, audio.body), (200, sound))


async def _recordings(world: World, leg_id: str) -> list[dict[str, object]]:
    leg = (await world.rest("GET", f"/api/calls/{leg_id}", status=200))["leg"]
    assert isinstance(leg, dict)
    found: list[dict[str, object]] = leg["recordings"]
    return found
