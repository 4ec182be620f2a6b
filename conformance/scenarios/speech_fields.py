"""Every field of a request for speech or transcripts, and what its provider is asked because of it."""

from __future__ import annotations

import json

from conformance.expect import ABSENT, NUMBER, TTS_ID, between, check
from conformance.peers.stt_service import KEY as STT_KEY
from conformance.peers.stt_service import Plan, SttService, open_stt_service
from conformance.peers.stt_talk import REQUEST_ID
from conformance.peers.voice_services import KEY, VOICE, VoiceServices, open_voice_services
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.transcripts import NO_KEYS, speak
from conformance.world import World

ROOM = "sc-speech"
APP = {"app_id": "shop"}
_EARS: dict[str, tuple[dict[str, object], dict[str, list[str]]]] = {
    "elevenlabs": (
        {
            "language": "de",
            "model": "scribe",
            "endpointing": 500,
            "language_hints": ["fr"],
            "keyterms": ["alpha"],
        },
        {
            "language_code": ["de"],
            "model_id": ["scribe"],
            "vad_silence_threshold_secs": ["0.5"],
            "secondary_languages": ["fr"],
            "keyterms": ["alpha"],
        },
    ),
    "deepgram": (
        {
            "language": "es",
            "model": "nova-2",
            "endpointing": 300,
            "utterance_end_ms": 1500,
            "keyterms": ["bravo"],
        },
        {
            "language": ["es"],
            "model": ["nova-2"],
            "endpointing": ["300"],
            "utterance_end_ms": ["1500"],
            "keyterm": ["bravo"],
        },
    ),
    "deepgram_flux": (
        {
            "model": "flux-general-multi",
            "eot_threshold": 0.8,
            "eager_eot_threshold": 0.4,
            "eot_timeout_ms": 3000,
            "language_hints": ["en", "es"],
        },
        {
            "model": ["flux-general-multi"],
            "eot_threshold": ["0.8"],
            "eager_eot_threshold": ["0.4"],
            "eot_timeout_ms": ["3000"],
            "language_hint": ["en", "es"],
        },
    ),
    "azure": ({"language": "pl-PL"}, {"language": ["pl-PL"]}),
}
"""For each provider of transcripts: fields of a request, and parameters of the connection."""


async def _shopper(world: World) -> Phone:
    """A call of an application in a room of the same one."""
    phone = await answered(world, headers=[("X-App-ID", "shop")])
    await world.rest("POST", "/v1/rooms", {"id": ROOM, **APP}, status=201)
    await phone.join(ROOM)
    return phone


def _ears_of(service: SttService) -> dict[str, str]:
    names = ("ELEVENLABS", "DEEPGRAM", "AZURE")
    return {
        **NO_KEYS,
        "AZURE_SPEECH_REGION": "westeurope",
        **{f"VB_{name}_BASE_URL": service.url for name in names},
    }


@scenario("Each field of a request for transcripts reaches its provider, from legs and from rooms")
async def stt_fields(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_ears_of(service)) as server:
        phone = await _shopper(server)
        leg = {"status": "stt_started", "leg_id": phone.leg_id}
        room = {"status": "stt_started", "room_id": ROOM, "leg_ids": [phone.leg_id]}
        for path, started in ((phone.path, leg), (f"/v1/rooms/{ROOM}", room)):
            for provider, (fields, wanted) in _EARS.items():
                body = {**fields, "provider": provider, "partial": True, "api_key": STT_KEY}
                await server.rest("POST", f"{path}/stt", body, status=200, expect=started)
                await service.until_open(1)
                heard = service.connections[-1]
                for name, values in wanted.items():
                    check(f"{provider}: {name}", heard.values(name), values)
                await speak(phone, "alpha")
                for is_final in (False, True):
                    event = {"text": "alpha", "is_final": is_final, **APP}
                    await server.event("stt.text", event, leg_id=phone.leg_id)
                await server.rest("DELETE", f"{path}/stt", status=200)
                await service.until_open(0)
        await phone.hang_up()


def _resumed_turn() -> str:
    """What Flux says when somebody goes on after all."""
    return json.dumps(
        {
            "type": "TurnInfo",
            "request_id": REQUEST_ID,
            "event": "TurnResumed",
            "turn_index": 0,
            "audio_window_start": 0.0,
            "audio_window_end": 0.1,
            "transcript": "alpha",
            "words": [{"word": "alpha", "confidence": 0.9, "start": 0.0, "end": 0.1}],
            "end_of_turn_confidence": 0.2,
            "languages": ["en"],
            "sequence_id": 900,
        }
    )


@scenario("stt.text and stt.turn: every field, with times from the start of the transcription")
async def stt_times(world: World) -> None:
    service = await world.open(open_stt_service())
    service.plans = [Plan(), Plan(after_ms=100, say=(_resumed_turn(),))]
    async with world.server(_ears_of(service)) as server:
        phone = await _shopper(server)
        await server.rest("DELETE", f"/v1/rooms/{ROOM}/legs/{phone.leg_id}", status=200)
        path, key = f"{phone.path}/stt", {"api_key": STT_KEY}
        body: dict[str, object] = {**key, "provider": "deepgram", "utterance_end_ms": 1000, "partial": False}
        await server.rest("POST", path, body, status=200)
        await service.connection(0)
        await speak(phone, "alpha bravo")
        text = await server.event(
            "stt.text",
            {
                "text": "alpha bravo",
                "is_final": True,
                "speech_final": True,
                "room_id": ABSENT,
                "audio_start_ms": between(0, 5000),
                "audio_end_ms": between(200, 6000),
            },
            leg_id=phone.leg_id,
        )
        start, end = text["audio_start_ms"], text["audio_end_ms"]
        check("ms between start and end", end - start, between(200, 600))  # type: ignore[operator]  # numbers
        check("partial text", server.count("stt.text", leg_id=phone.leg_id), 1)
        ended = await server.event("stt.turn", APP, leg_id=phone.leg_id, event="utterance_end")
        check("last word", ended, {"last_word_end_ms": between(200, 6000)})
        await server.rest("DELETE", path, status=200)
        await _turns(server, phone, service)
        await phone.hang_up()


async def _turns(world: World, phone: Phone, service: SttService) -> None:
    """Flux tells each step of a turn."""
    body: dict[str, object] = {"api_key": STT_KEY, "provider": "deepgram_flux", "eager_eot_threshold": 0.4}
    await world.rest("POST", f"{phone.path}/stt", body, status=200)
    await service.connection(1)
    going_on = await world.event("stt.turn", leg_id=phone.leg_id, event="turn_resumed")
    check("languages", going_on["languages"], ["en"])
    await speak(phone, "charlie delta")
    first = await world.event("stt.turn", leg_id=phone.leg_id, event="start_of_turn")
    for step in ("update", "update", "eager_end_of_turn", "end_of_turn"):
        turn = await world.event("stt.turn", leg_id=phone.leg_id, event=step)
        check(step, turn["turn_index"], first["turn_index"])
    check("words of the turn", turn["text"], "charlie delta")
    check("sureness", turn["end_of_turn_confidence"], 0.95)
    word = {"word": "charlie", "confidence": 0.9, "start_ms": NUMBER, "end_ms": NUMBER}
    check("words", turn["words"], [word, {**word, "word": "delta"}])
    check("window", turn, {"audio_window_start_ms": NUMBER, "audio_window_end_ms": NUMBER})
    check("last word", turn["last_word_end_ms"], turn["audio_window_end_ms"])
    final = await world.event("stt.text", leg_id=phone.leg_id, text="charlie delta")
    check("speech_final", final["speech_final"], True)
    await world.rest("DELETE", f"{phone.path}/stt", status=200)


_VOICES: tuple[tuple[dict[str, object], tuple[str, str, str, str]], ...] = (
    (
        {"provider": "elevenlabs", "voice": VOICE, "model_id": "eleven_v3", "language": "de"},
        (VOICE, "eleven_v3", "de", ""),
    ),
    ({"provider": "deepgram", "voice": "aura-2-asteria-en"}, ("aura-2-asteria-en", "", "", "")),
    ({"provider": "azure", "voice": "pl-PL-ZofiaNeural"}, ("pl-PL-ZofiaNeural", "", "pl-PL", "")),
    (
        {"provider": "aws", "voice": "Matthew", "model_id": "long-form", "language": "en-US"},
        ("Matthew", "long-form", "en-US", ""),
    ),
    (
        {
            "provider": "google",
            "voice": "Achernar",
            "model_id": "gemini-2.5-pro-tts",
            "language": "pl-PL",
            "prompt": "Read aloud in a warm tone.",
        },
        ("Achernar", "gemini-2.5-pro-tts", "pl-PL", "Read aloud in a warm tone."),
    ),
)
"""Fields of a request, and voice, model, language and prompt that the service is asked for."""


def _mouths_of(services: VoiceServices) -> dict[str, str]:
    """A server without a key of its own."""
    names = ("ELEVENLABS", "DEEPGRAM", "AZURE", "AWS", "GOOGLE")
    keys = ("ELEVENLABS_API_KEY", "DEEPGRAM_API_KEY", "AZURE_SPEECH_KEY", "AWS_ACCESS_KEY_ID")
    return {
        **dict.fromkeys(keys, "(unset)"),
        **{f"VB_{name}_BASE_URL": services.url for name in names},
        "AZURE_SPEECH_REGION": "westeurope",
        "AWS_REGION": "eu-west-3",
    }


@scenario(
    "Each field of a request for speech reaches its provider, with the key of the request alone",
    timeout_s=60.0,
)
async def speech_fields(world: World) -> None:
    services = await world.open(open_voice_services())
    async with world.server(_mouths_of(services)) as server:
        phone = await _shopper(server)
        places = (
            (f"{phone.path}/tts", {"leg_id": phone.leg_id, **APP}),
            (f"/v1/rooms/{ROOM}/tts", {"room_id": ROOM, **APP}),
        )
        for path, scope in places:
            for number, (body, asked) in enumerate(_VOICES):
                text = f"{500 + 100 * number} hz 400 ms"
                key = f"AKIDVOICE:{KEY}" if body["provider"] == "aws" else KEY
                wanted = {"tts_id": TTS_ID, "status": "playing"}
                request = {**body, "text": text, "api_key": key, "volume": -2}
                answer = await server.rest("POST", path, request, status=200, expect=wanted)
                await server.event("tts.started", scope, tts_id=answer["tts_id"])
                (await phone.rtp.listen(200, settle_ms=60)).has_tones(500 + 100 * number, level=-24)
                done = {"reason": "completed", "played_ms": between(380, 420)}
                await server.event("tts.finished", {**scope, **done}, tts_id=answer["tts_id"])
                last = services.asked[-1]
                check(
                    text, (last.voice, last.model or asked[1], last.language or asked[2], last.prompt), asked
                )
                check(text, last.service, body["provider"])
            await _over_one_another(server, phone, path, scope)
        check("keys in the log", KEY.encode() in bytes(server.target.log), False)
        await phone.hang_up()


async def _over_one_another(world: World, phone: Phone, path: str, scope: dict[str, str]) -> None:
    """`overlap` lets two utterances sound at once."""
    both: list[object] = []
    for hertz in (600, 900):
        body = {"text": f"{hertz} hz 1000 ms", "voice": VOICE, "api_key": KEY, "overlap": True}
        both.append((await world.rest("POST", path, body, status=200))["tts_id"])
    for tts_id in both:
        await world.event("tts.started", scope, tts_id=tts_id)
    (await phone.rtp.listen(200, settle_ms=100)).has_tones(600, 900)
    for tts_id in both:
        await world.event("tts.finished", scope, tts_id=tts_id, reason="completed")


@scenario("Speech that is prepared: each field reaches its provider, and what is heard is what was prepared")
async def preflight_fields(world: World) -> None:
    services = await world.open(open_voice_services())
    async with world.server(_mouths_of(services)) as server:
        phone = await _shopper(server)
        for number, (body, asked) in enumerate(_VOICES):
            key = f"AKIDVOICE:{KEY}" if body["provider"] == "aws" else KEY
            hertz = 500 + 100 * number
            request = {**body, "text": f"{hertz} hz 400 ms", "api_key": key, "volume": -2, "overlap": True}
            answer = await server.rest("POST", f"{phone.path}/tts/preflight", request, status=200)
            tts_id = answer["tts_id"]
            staged = {"duration_ms": between(380, 420), "bytes": NUMBER}
            await server.event("tts.staged", {"leg_id": phone.leg_id, **staged, **APP}, tts_id=tts_id)
            last = services.asked[-1]
            check(f"{hertz} Hz", (last.voice, last.prompt), (asked[0], asked[3]))
            await server.rest("POST", f"{phone.path}/tts/{tts_id}/commit", status=200)
            await server.event("tts.started", leg_id=phone.leg_id, tts_id=tts_id)
            (await phone.rtp.listen(200, settle_ms=60)).has_tones(hertz, level=-24)
            await server.event("tts.finished", leg_id=phone.leg_id, tts_id=tts_id, reason="completed")
        check("requests", len(services.asked), len(_VOICES))
        await phone.hang_up()
