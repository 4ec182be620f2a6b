"""Text to speech: on legs and in rooms, through every service, in order, kept, prepared, and failing."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, TEXT, TTS_ID, between, check, containing, require
from conformance.peers.voice_services import KEY, VOICE, VoiceServices, open_voice_services
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World

_VOICES = {
    "elevenlabs": VOICE,
    "deepgram": "aura-2-asteria-en",
    "azure": "pl-PL-ZofiaNeural",
    "aws": "Joanna",
    "google": "en-GB-Neural2-A",
}


def _settings(services: VoiceServices) -> dict[str, str]:
    """What a server needs to speak through them."""
    return {
        "ELEVENLABS_API_KEY": KEY,
        "VB_ELEVENLABS_BASE_URL": services.url,
        "DEEPGRAM_API_KEY": KEY,
        "VB_DEEPGRAM_BASE_URL": services.url,
        "AZURE_SPEECH_KEY": KEY,
        "AZURE_SPEECH_REGION": "westeurope",
        "VB_AZURE_BASE_URL": services.url,
        "AWS_ACCESS_KEY_ID": "AKIDVOICE",
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": "eu-west-3",
        "VB_AWS_BASE_URL": services.url,
        "VB_GOOGLE_BASE_URL": services.url,
    }


async def _say(phone: Phone, text: str, **more: object) -> str:
    """Has something said on a phone's leg; returns its id."""
    body: dict[str, object] = {"text": text, "voice": VOICE, **more}
    answer = await phone.world.rest(
        "POST", f"{phone.path}/tts", body, status=200, expect={"tts_id": TTS_ID, "status": "playing"}
    )
    return str(answer["tts_id"])


async def _started(phone: Phone, tts_id: str) -> None:
    await phone.world.event("tts.started", leg_id=phone.leg_id, room_id=ABSENT, tts_id=tts_id)


async def _finished(phone: Phone, tts_id: str, reason: str, low: int, high: int) -> None:
    await phone.world.event(
        "tts.finished",
        leg_id=phone.leg_id,
        room_id=ABSENT,
        tts_id=tts_id,
        reason=reason,
        played_ms=between(low, high),
    )


async def _failed(phone: Phone, text: str, category: str, **more: object) -> None:
    tts_id = await _say(phone, text, **more)
    await phone.world.event(
        "tts.error", leg_id=phone.leg_id, room_id=ABSENT, tts_id=tts_id, category=category, error=TEXT
    )


@scenario(
    "Speech from every service on a leg, by REST and VSI, with language, model and prompt", needs=("servers",)
)
async def tts_services(world: World) -> None:
    services = await world.open(open_voice_services())
    account = world.home / f"account-{world.name}.json"
    await trio.Path(account).write_text(services.service_account())
    settings = {**_settings(services), "GOOGLE_APPLICATION_CREDENTIALS": str(account)}
    async with world.server(settings) as there:
        phone = await answered(there)
        for number, (provider, voice) in enumerate(_VOICES.items()):
            hertz = 400 + 100 * number
            tts_id = await _say(phone, f"{hertz} hz 600 ms", provider=provider, voice=voice)
            await _started(phone, tts_id)
            (await phone.rtp.listen(300, settle_ms=100)).has_tones(hertz, level=-18)
            await _finished(phone, tts_id, "completed", 600, 620)
        check("who was asked", [asked.service for asked in services.asked], [*_VOICES])
        check("languages", [asked.language for asked in services.asked], ["", "", "pl-PL", "", "en-GB"])
        check("tokens", services.tokens, 1)
        tts_id = await _say(phone, "300 hz", voice="rachel", language="de-DE", model_id="eleven_flash_v2_5")
        await _finished(phone, tts_id, "completed", 500, 520)
        last = services.asked[-1]
        check(
            "voice by its name", (last.voice, last.language, last.model), (VOICE, "de", "eleven_flash_v2_5")
        )
        command = {"id": phone.leg_id, "text": "700 hz", "voice": VOICE, "volume": -2}
        data = await there.command("leg_tts", command, {"tts_id": TTS_ID, "status": "playing"})
        assert isinstance(data, dict)
        await _started(phone, str(data["tts_id"]))
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(700, level=-24)
        await _finished(phone, str(data["tts_id"]), "completed", 500, 520)
        await _room(there, services, phone)
        await phone.hang_up()
        check("keys in the log", KEY.encode() in bytes(there.target.log), False)


async def _room(world: World, services: VoiceServices, phone: Phone) -> None:
    """Everybody in a room hears it; language and prompt count there too."""
    other = await answered(world, "call2")
    for each in (phone, other):
        await each.join("sc-tts")
    body: dict[str, object] = {"text": "800 hz 600 ms", "voice": "Kore", "provider": "google"}
    more = {"language": "pl-PL", "prompt": "warmly", "model_id": "gemini-2.5-pro-tts"}
    answer = await world.rest(
        "POST", "/v1/rooms/sc-tts/tts", {**body, **more}, status=200, expect={"tts_id": TTS_ID}
    )
    scope: dict[str, object] = {"room_id": "sc-tts", "leg_id": ABSENT}
    await world.event("tts.started", scope, tts_id=answer["tts_id"])
    for each in (phone, other):
        (await each.rtp.listen(150, settle_ms=50)).has_tones(800)
    await world.event("tts.finished", scope, tts_id=answer["tts_id"], reason="completed")
    last = services.asked[-1]
    check("asked", (last.language, last.prompt, last.model), ("pl-PL", "warmly", "gemini-2.5-pro-tts"))
    command: dict[str, object] = {"id": "sc-tts", "text": "900 hz 3000 ms", "voice": VOICE}
    data = await world.command("room_tts", command, {"tts_id": TTS_ID, "status": "playing"})
    assert isinstance(data, dict)
    await world.event("tts.started", scope, tts_id=data["tts_id"])
    await world.rest(
        "DELETE", f"/v1/rooms/sc-tts/play/{data['tts_id']}", status=200, expect={"status": "stopped"}
    )
    await world.event("tts.finished", scope, tts_id=data["tts_id"], reason="stopped")
    await other.hang_up()


@scenario(
    "Utterances wait for each other, or overlap on request; stopped, louder, ended by the call",
    needs=("servers",),
)
async def tts_order(world: World) -> None:
    services = await world.open(open_voice_services())
    async with world.server(_settings(services)) as there:
        phone = await answered(there)
        first, second = await _say(phone, "500 hz 500 ms"), await _say(phone, "900 hz 500 ms")
        await _started(phone, first)
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(500)
        await _finished(phone, first, "completed", 500, 520)
        await _started(phone, second)
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(900)
        await _finished(phone, second, "completed", 500, 520)

        long = await _say(phone, "500 hz 9000 ms")
        await _started(phone, long)
        over = await _say(phone, "900 hz 500 ms", overlap=True)
        await _started(phone, over)
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(500, 900)
        await _finished(phone, over, "completed", 500, 520)
        play = f"{phone.path}/play/{long}"
        await there.rest("PATCH", play, {"volume": -4}, status=200, expect={"status": "ok"})
        (await phone.hears(200)).has_tones(500, level=-30)
        waiting = await _say(phone, "700 hz 9000 ms")
        await there.rest("DELETE", play, status=200, expect={"status": "stopped"})
        await _finished(phone, long, "stopped", 500, 5000)
        await _started(phone, waiting)
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(700)
        never = await _say(phone, "600 hz")
        await phone.call.bye()
        await _finished(phone, waiting, "stopped", 100, 3000)
        await _finished(phone, never, "stopped", 0, 0)
        await there.disconnected(phone.leg_id, "remote_bye", answered=True)
        check("what was never heard was asked for at most once", services.count["600 hz"] <= 1, True)


@scenario(
    "Services that fail: one event with a category, retries where they help, the call goes on",
    timeout_s=60.0,
    needs=("servers",),
)
async def tts_fails(world: World) -> None:
    services = await world.open(open_voice_services())
    async with world.server(_settings(services)) as there:
        phone = await answered(there, tone=500.0)
        for text, category, asked in (
            ("status 400", "permanent_input", 1),
            ("status 404", "permanent_input", 1),
            ("status 403", "permanent_auth", 1),
            ("status 429", "rate_limited", 3),
            ("status 503", "service_unavailable", 3),
            ("garbage", "unknown", 1),
        ):
            await _failed(phone, text, category)
            check(f"questions for {text}", services.count[text], asked)
        await _failed(phone, "wrong key", "permanent_auth", api_key="sk-another-secret")
        stalled = await _say(phone, "stall")
        after = await _say(phone, "800 hz")
        await there.event("tts.error", within_s=15.0, tts_id=stalled, category="retryable")
        await _finished(phone, after, "completed", 500, 520)
        good: dict[str, object] = {"text": "x", "voice": VOICE}
        spanish = {"provider": "deepgram", "voice": "aura-2-thalia-en", "language": "es"}
        bad = (
            {"text": ""},
            {"voice": ""},
            {"volume": 9},
            {"provider": "x"},
            {"prompt": "x"},
            {"text": 1},
            spanish,
        )
        for change in bad:
            await there.rest("POST", f"{phone.path}/tts", {**good, **change}, status=400)
        await there.command_fails("leg_tts", {"id": phone.leg_id, "voice": VOICE}, 400, containing("text"))
        google = {**good, "provider": "google"}
        await there.rest("POST", f"{phone.path}/tts", google, status=503)
        await there.rest("POST", "/v1/legs/nobody/tts", good, status=404)
        await there.rest("POST", "/v1/rooms", {"id": "sc-empty"}, status=201)
        await there.rest("POST", "/v1/rooms/sc-empty/tts", good, status=409)
        await phone.hang_up()
        for secret in (KEY.encode(), b"sk-another-secret"):
            check("keys in the log", secret in bytes(there.target.log), False)


@scenario(
    "Kept speech: asked for once, also after a restart; apart by key and within a size on request",
    timeout_s=90.0,
    needs=("servers",),
)
async def tts_cache(world: World) -> None:
    services = await world.open(open_voice_services())
    folder = trio.Path(world.home / f"speech-{world.name}")
    settings = {
        **_settings(services),
        "TTS_CACHE_ENABLED": "true",
        "TTS_CACHE_DIR": str(folder),
        "TTS_CACHE_INCLUDE_API_KEY": "true",
        "VB_TTS_CACHE_MAX_MB": "1",
    }
    for _ in range(2):
        async with world.server(settings) as there:
            phone = await answered(there)
            for _ in range(2):
                tts_id = await _say(phone, "500 hz 400 ms")
                await _started(phone, tts_id)
                (await phone.rtp.listen(200, settle_ms=100)).has_tones(500, level=-18)
                await _finished(phone, tts_id, "completed", 400, 420)
            await phone.hang_up()
        check("questions", services.count["500 hz 400 ms"], 1)
    async with world.server(settings) as there:
        phone = await answered(there)
        await _failed(phone, "500 hz 400 ms", "permanent_auth", api_key="another")
        check("questions with another key", services.count["500 hz 400 ms"], 2)
        for number in range(3):
            body: dict[str, object] = {"text": f"{600 + number} hz 20000 ms", "voice": VOICE}
            answer = await there.rest("POST", f"{phone.path}/tts/preflight", body, status=200)
            await there.event("tts.staged", tts_id=answer["tts_id"], bytes=640_000, duration_ms=20_000)
            await there.rest("DELETE", f"{phone.path}/tts/{answer['tts_id']}", status=200)
        await phone.hang_up()
    sizes = [(await file.stat()).st_size for file in await folder.iterdir()]
    require(sum(sizes) <= 1 << 20, "size of the folder", "at most 1 MB", sizes)
    file = world.home / f"file-{world.name}"
    await trio.Path(file).write_bytes(b"")
    code, output = await run_to_end(world.home / "no-folder", {**settings, "TTS_CACHE_DIR": str(file)})
    check("exit code without a folder", code, 1)
    check("output", output, containing("TTS_CACHE_DIR"))


@scenario(
    "Speech prepared ahead: committed, discarded, expired, too many, too long, and the call's end",
    needs=("servers",),
)
async def tts_preflight(world: World) -> None:
    services = await world.open(open_voice_services())
    settings = {
        **_settings(services),
        "TTS_PREFLIGHT_TTL": "1s",
        "TTS_PREFLIGHT_MAX_PER_LEG": "2",
        "TTS_PREFLIGHT_MAX_BYTES": "64000",
    }
    async with world.server(settings) as there:
        phone = await answered(there)

        async def stage(text: str, status: int = 200) -> str:
            body: dict[str, object] = {"text": text, "voice": VOICE}
            expect = {"tts_id": TTS_ID, "status": "staged"} if status == 200 else {"error": TEXT}
            answer = await there.rest(
                "POST", f"{phone.path}/tts/preflight", body, status=status, expect=expect
            )
            return str(answer.get("tts_id"))

        tts_id = await stage("500 hz 500 ms")
        await there.event("tts.staged", leg_id=phone.leg_id, tts_id=tts_id, bytes=16000, duration_ms=500)
        (await phone.hears(200)).is_quiet()
        commit = f"{phone.path}/tts/{tts_id}/commit"
        await there.rest("POST", commit, status=200, expect={"tts_id": tts_id, "status": "committed"})
        await _started(phone, tts_id)
        (await phone.rtp.listen(200, settle_ms=100)).has_tones(500)
        await there.rest("POST", commit, status=409)
        await there.rest("DELETE", f"{phone.path}/tts/{tts_id}", status=409)
        await _finished(phone, tts_id, "completed", 500, 520)
        check("questions", services.count["500 hz 500 ms"], 1)

        first, second = await stage("one"), await stage("two")
        await stage("three", status=409)
        await there.rest("DELETE", f"{phone.path}/tts/{first}", status=200, expect={"status": "discarded"})
        await there.event("tts.discarded", leg_id=phone.leg_id, tts_id=first, reason="app")
        await there.event("tts.discarded", leg_id=phone.leg_id, tts_id=second, reason="expired")
        await there.rest("POST", f"{phone.path}/tts/{second}/commit", status=404)
        too_long = await stage("500 hz 3000 ms")
        await there.event("tts.error", tts_id=too_long, category="permanent_input")

        payload: dict[str, object] = {"id": phone.leg_id, "text": "600 hz", "voice": VOICE}
        data = await there.command("leg_tts_preflight", payload, {"tts_id": TTS_ID, "status": "staged"})
        assert isinstance(data, dict)
        named = {"id": phone.leg_id, "tts_id": data["tts_id"]}
        await there.command("leg_tts_commit", named, {"tts_id": data["tts_id"], "status": "committed"})
        await _finished(phone, str(data["tts_id"]), "completed", 500, 520)
        data = await there.command("leg_tts_preflight", payload)
        assert isinstance(data, dict)
        named = {"id": phone.leg_id, "tts_id": data["tts_id"]}
        await there.command("leg_tts_discard", named, {"status": "discarded"})
        left = await stage("700 hz")
        await phone.call.bye()
        await there.event("tts.discarded", leg_id=phone.leg_id, tts_id=left, reason="leg_gone")
        await there.disconnected(phone.leg_id, "remote_bye", answered=True)
