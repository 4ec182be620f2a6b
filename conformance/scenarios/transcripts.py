"""Transcripts of legs and rooms: words that are tones, and services that fail in every way."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, between, check, containing, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.stt_service import KEY, Plan, SttService, open_stt_service
from conformance.peers.stt_words import WORDS
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered, ringing
from conformance.registry import scenario
from conformance.world import World

_TONES = {word: hz for hz, word in WORDS.items()}
WORD_S = 0.2
NO_KEYS = {"ELEVENLABS_API_KEY": "(unset)", "DEEPGRAM_API_KEY": "(unset)", "AZURE_SPEECH_KEY": "(unset)"}


def _settings(service: SttService) -> dict[str, str]:
    """Settings with which every provider of transcripts is the service."""
    return {
        "ELEVENLABS_API_KEY": KEY,
        "VB_ELEVENLABS_BASE_URL": service.url,
        "DEEPGRAM_API_KEY": KEY,
        "VB_DEEPGRAM_BASE_URL": service.url,
        "AZURE_SPEECH_KEY": KEY,
        "AZURE_SPEECH_REGION": "westeurope",
        "VB_AZURE_BASE_URL": service.url,
    }


async def speak(phone: Phone, words: str) -> None:
    """Says words, and is silent after them."""
    for word in words.split():
        phone.rtp.talk(_TONES[word])
        await trio.sleep(WORD_S)
    phone.rtp.talk(None)


async def _says(world: World, phone: Phone, words: str, **fields: object) -> Frame:
    """Says words and waits for them as final text."""
    await speak(phone, words)
    return await world.event("stt.text", {"text": words, "is_final": True, **fields}, leg_id=phone.leg_id)


async def _partials(world: World, phone: Phone) -> tuple[list[str], Frame]:
    """Takes partial text up to the final one; returns both."""
    texts: list[str] = []
    while True:
        event = await world.event("stt.text", {"room_id": ABSENT}, leg_id=phone.leg_id)
        if event["is_final"]:
            return texts, event
        texts.append(str(event["text"]))


@scenario(
    "A leg's words by each provider: key, options and blocks on the wire, partial and final text, the stop"
)
async def stt_leg(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        phone = await answered(server)
        path = f"{phone.path}/stt"
        bodies: dict[str, dict[str, object]] = {
            "elevenlabs": {"endpointing": 400, "language": "en", "keyterms": ["alpha"]},
            "deepgram": {"utterance_end_ms": 1000, "language": "en", "keyterms": ["alpha", "bravo"]},
            "deepgram_flux": {"eot_threshold": 0.8},
            "azure": {"keyterms": ["alpha"]},
        }
        sizes = {"elevenlabs": 3200, "deepgram_flux": 2560}
        for number, (provider, body) in enumerate(bodies.items()):
            named = {} if provider == "elevenlabs" else {"provider": provider}
            started = {"status": "stt_started", "leg_id": phone.leg_id}
            await server.rest("POST", path, {**named, **body, "partial": True}, status=200, expect=started)
            await server.rest("POST", path, {"provider": provider}, status=409)
            await service.connection(number)
            await speak(phone, "alpha bravo charlie")
            partials, final = await _partials(server, phone)
            check(f"{provider}: partial text", partials, ["alpha", "alpha bravo", "alpha bravo charlie"])
            check(f"{provider}: final text", final["text"], "alpha bravo charlie")
            if provider in ("deepgram", "deepgram_flux"):
                await server.event("stt.turn", leg_id=phone.leg_id)
            await server.rest("DELETE", path, status=200, expect={"status": "stt_stopped"})
            await server.rest("DELETE", path, status=404)
            heard = service.connections[number]
            check(f"{provider}: size of blocks", set(heard.sizes[1:-1]), {sizes.get(provider, 1280)})
            await service.until_open(0)
        eleven, deepgram, flux, azure = service.connections
        check("silence", eleven.values("vad_silence_threshold_secs"), ["0.4"])
        check("key terms", deepgram.values("keyterm"), ["alpha", "bravo"])
        check("end of the stream", deepgram.objects()[-1], {"type": "CloseStream"})
        check("threshold", flux.values("eot_threshold"), ["0.8"])
        check("language", azure.values("language"), ["en-US"])
        await phone.hang_up()


@scenario(
    "Transcripts over VSI: start, finalize, stop; what a provider cannot do is 501, and without any 404"
)
async def stt_vsi(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        service.pause_ms = 60_000
        phone = await answered(server)
        ref: Frame = {"id": phone.leg_id}
        await server.command_fails("leg_stt_finalize", ref, 404)
        await server.command_fails("leg_stt_stop", ref, 404)
        started = {"status": "stt_started", "leg_id": phone.leg_id}
        await server.command("leg_stt_start", {**ref, "provider": "deepgram"}, started)
        await service.connection(0)
        await speak(phone, "delta echo")
        await trio.sleep(0.2)
        await server.command("leg_stt_finalize", ref, {"status": "stt_finalized"})
        await server.event("stt.text", {"text": "delta echo", "is_final": True}, leg_id=phone.leg_id)
        await speak(phone, "golf")
        await server.rest(
            "POST", f"{phone.path}/stt/finalize", status=200, expect={"status": "stt_finalized"}
        )
        await server.event("stt.text", {"text": "golf"}, leg_id=phone.leg_id)
        await server.command("leg_stt_stop", ref, {"status": "stt_stopped"})
        await server.command("leg_stt_start", {**ref, "provider": "azure"}, started)
        await service.connection(1)
        await server.command_fails("leg_stt_finalize", ref, 501)
        await server.command("leg_stt_stop", ref)
        await phone.join("sc-stt")
        answer = {"status": "stt_started", "room_id": "sc-stt", "leg_ids": [phone.leg_id]}
        await server.command("room_stt_start", {"id": "sc-stt", "provider": "deepgram_flux"}, answer)
        await server.command_fails("room_stt_start", {"id": "sc-stt", "provider": "deepgram_flux"}, 409)
        await server.command("room_stt_stop", {"id": "sc-stt"}, {"status": "stt_stopped"})
        await server.command_fails("room_stt_stop", {"id": "sc-stt"}, 404)
        await phone.hang_up()


@scenario(
    "A room's words, each leg apart: who comes late, who leaves, who is muted, the last word before the end"
)
async def stt_room(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        first, second = await answered(server, "call1"), await answered(server, "call2")
        room = "/v1/rooms/sc-stt"
        await server.rest("POST", "/v1/rooms", {"id": "sc-stt", "sample_rate": 48000}, status=201)
        await server.rest("POST", f"{room}/stt", {"provider": "deepgram"}, status=409)
        await first.join("sc-stt")
        await second.join("sc-stt", mute=True)
        answer = await server.rest("POST", f"{room}/stt", {"provider": "deepgram"}, status=200)
        check("legs", sorted(answer["leg_ids"]), sorted([first.leg_id, second.leg_id]))  # type: ignore[call-overload]  # a list
        await server.rest("POST", f"{room}/stt", {"provider": "deepgram"}, status=409)
        third = await answered(server, "call3")
        await third.join("sc-stt")
        await service.connection(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, first, "alpha bravo")
            nursery.start_soon(speak, second, "charlie delta")
            nursery.start_soon(speak, third, "echo foxtrot")
        for phone, words in ((first, "alpha bravo"), (second, "charlie delta"), (third, "echo foxtrot")):
            wanted = {"text": words, "is_final": True, "room_id": "sc-stt"}
            await server.event("stt.text", wanted, leg_id=phone.leg_id)
        await server.rest("DELETE", f"{room}/legs/{first.leg_id}", status=200)
        await speak(first, "golf hotel")
        await server.no_event("stt.text", leg_id=first.leg_id)
        third.rtp.talk(_TONES["hotel"])
        await trio.sleep(WORD_S + 0.2)
        await third.hang_up()
        await server.event("stt.text", {"text": "hotel", "room_id": "sc-stt"}, leg_id=third.leg_id)
        server.order(("stt.text", third.leg_id), ("leg.disconnected", third.leg_id))
        await server.rest("DELETE", f"{room}/stt", status=200, expect={"status": "stt_stopped"})
        await server.rest("DELETE", f"{room}/stt", status=404)
        await service.until_open(0)
        await first.hang_up()
        await second.hang_up()


@scenario("A leg's transcription goes with it through rooms of other rates, muted or not")
async def stt_follows(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        phone = await answered(server)
        await server.rest("POST", "/v1/rooms", {"id": "sc-wide", "sample_rate": 48000}, status=201)
        await server.rest("POST", f"{phone.path}/stt", {"provider": "deepgram"}, status=200)
        await service.connection(0)
        await _says(server, phone, "alpha", room_id=ABSENT)
        await phone.join("sc-wide")
        await server.rest("POST", f"{phone.path}/mute", status=200)
        await _says(server, phone, "bravo", room_id=ABSENT)
        await server.rest("DELETE", "/v1/rooms/sc-wide/legs/" + phone.leg_id, status=200)
        await _says(server, phone, "charlie", room_id=ABSENT)
        check("connections", len(service.connections), 1)
        await phone.hang_up()


@scenario(
    "Transcripts that are refused: keys before anything else, options of other providers, legs without audio"
)
async def stt_refused(world: World) -> None:
    async with world.server(NO_KEYS) as server:
        for owner in ("legs", "rooms"):
            path = f"/v1/{owner}/nobody/stt"
            no_key = {"error": "no elevenlabs API key provided"}
            await server.rest("POST", path, {}, status=503, expect=no_key)
            await server.rest("POST", path, None, status=503, expect=no_key)
            nope = {"error": "no nope API key provided"}
            await server.rest("POST", path, {"provider": "nope"}, status=503, expect=nope)
            await server.rest("POST", path, {"api_key": "k"}, status=404)
            await server.rest("DELETE", path, status=404)
            bad: tuple[tuple[dict[str, object], str], ...] = (
                ({"provider": "deepgram", "eot_threshold": 0.5}, "eot_threshold"),
                ({"provider": "deepgram_flux", "eot_threshold": 1.1}, "eot_threshold"),
                ({"provider": "deepgram_flux", "eager_eot_threshold": 0.95}, "eager_eot_threshold"),
                ({"provider": "azure", "endpointing": 300}, "endpointing"),
                ({"provider": "elevenlabs", "keyterms": ["x" * 21]}, "keyterms"),
                ({"provider": "deepgram", "keyterms": "alpha"}, "keyterms"),
                ({"language": "in english, please"}, "language"),
                ({"partial": "maybe"}, "partial"),
            )
            for body, field in bad:
                error = {"error": containing(field)}
                await server.rest("POST", path, {"api_key": "k", **body}, status=400, expect=error)
        await server.rest("POST", "/v1/legs/nobody/stt/finalize", status=404)
        phone = await answered(server)
        await phone.reinvite(audio_sdp(phone.rtp.port, direction="sendonly"))
        await server.event("leg.hold", leg_id=phone.leg_id)
        held = {"error": containing("held")}
        await server.rest("POST", f"{phone.path}/stt", {"api_key": "k"}, status=409, expect=held)
        await phone.hang_up()
        early = await ringing(server, "call2")
        await server.rest("POST", f"{early.path}/stt", {"api_key": "k"}, status=409)
        await server.rest("DELETE", early.path, status=202)
        await early.call.response(480)


@scenario(
    "Services for transcripts that fail: one event with a category, then nothing, and the call lives (S30)"
)
async def stt_fails(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        phone = await answered(server, tone=550.0)
        path = f"{phone.path}/stt"
        faults = (
            (Plan(status=401), "permanent_auth"),
            (Plan(status=429), "rate_limited"),
            (Plan(status=500), "service_unavailable"),
            (Plan(hang_up=True), "retryable"),
            (Plan(fault="garbage", after_ms=0), "retryable"),
            (Plan(fault="close", after_ms=0, code=1008), "permanent_input"),
        )
        for plan, category in faults:
            service.plans = [plan]
            await server.rest("POST", path, {"provider": "deepgram"}, status=200)
            error = await server.event(
                "stt.error", {"category": category, "provider": "deepgram"}, leg_id=phone.leg_id
            )
            require(KEY not in str(error), "stt.error", "no key", error)
            await server.rest("DELETE", path, status=404)
        check("events", server.count("stt.error", leg_id=phone.leg_id), len(faults))
        figures = await server.metrics()
        check("transcripts that run", figures.find("stt_running"), 0.0)
        require(KEY.encode() not in server.target.log, "server log", "no key", "the key")
        await phone.hang_up()


@scenario(
    "A service for transcripts that breaks off in mid-sentence, is late or half open costs no word (S30)"
)
async def stt_comes_back(world: World) -> None:
    service = await world.open(open_stt_service())
    async with world.server(_settings(service)) as server:
        phone = await answered(server)
        path = f"{phone.path}/stt"
        plans = (
            Plan(fault="close", after_ms=500),
            Plan(fault="abort", after_ms=500),
            Plan(late_s=1.0),
            Plan(fault="freeze", after_ms=20),
        )
        for number, plan in enumerate(plans):
            service.plans = [*[plan] * (len(service.connections) + 1), Plan()]
            await server.rest("POST", path, {"provider": "deepgram"}, status=200)
            await speak(phone, "alpha bravo charlie delta")
            words: list[str] = []
            with trio.move_on_after(9):
                while "delta" not in words:
                    event = await server.event("stt.text", leg_id=phone.leg_id, within_s=9)
                    words += str(event["text"]).split()
            check(
                f"words with fault {number}",
                list(dict.fromkeys(words)),
                ["alpha", "bravo", "charlie", "delta"],
            )
            require(len(words) <= 5, "words", "each once, or the broken one twice", words)
            await server.rest("DELETE", path, status=200)
        check("errors", server.count("stt.error", leg_id=phone.leg_id), 0)
        service.plans = [Plan(fault="freeze", after_ms=20)]
        await server.rest("POST", path, {"provider": "deepgram"}, status=200)
        await speak(phone, "alpha")
        begun = trio.current_time()
        await server.rest("DELETE", phone.path, status=202)
        await phone.is_hung_up("api_hangup")
        check("end of a call whose service hangs", trio.current_time() - begun, between(0, 2.5))
