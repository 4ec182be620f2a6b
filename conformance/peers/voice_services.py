"""Services that speak, all of them at one address: what they say is a tone whose pitch is in the text.

`500 hz 400 ms` is 400 ms of 500 Hz; `status 503`, `stall` and `garbage` fail as they say.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from conformance.peers.http_server import Request, Response, serve_http
from conformance.peers.media_server import tone, wav

KEY = "sk-conformance-key"
VOICE = "21m00Tcm4TlvDq8ikWAM"
RATE_HZ = 16000
_HERTZ = re.compile(r"(\d+) hz")
_MILLISECONDS = re.compile(r"(\d+) ms")
_STATUS = re.compile(r"status (\d+)")
_SCOPE = re.compile(r"Credential=AKIDVOICE/\d{8}/eu-west-3/polly/aws4_request")


@dataclass
class Asked:
    """What a service was asked for."""

    service: str
    text: str
    voice: str
    model: str = ""
    language: str = ""
    prompt: str = ""


@dataclass
class VoiceServices:
    """All services; each answers 401 to a wrong key."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    tokens: int = 0
    count: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service_account(self) -> str:
        """The file of a service account whose tokens come from here."""
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        account = {"client_email": "vb@example.com", "private_key": pem, "token_uri": f"{self.url}/token"}
        return json.dumps(account)

    async def handle(self, request: Request) -> Response:
        """Answers one request."""
        url = urlsplit(request.path)
        match url.path.split("/"):
            case ["", "v1", "text-to-speech", voice, "stream"]:
                body = json.loads(request.body)
                asked = Asked("elevenlabs", body["text"], voice, body["model_id"])
                asked.language = body.get("language_code", "")
                return await self._speak(asked, request.header("xi-api-key") == KEY)
            case ["", "v1", "voices"]:
                voices = {"voices": [{"voice_id": VOICE, "name": "Rachel"}]}
                return Response(200, json.dumps(voices).encode(), "application/json")
            case ["", "v1", "speak"]:
                asked = Asked("deepgram", json.loads(request.body)["text"], parse_qs(url.query)["model"][0])
                return await self._speak(
                    asked, (request.header("Authorization") or "").lower() == f"token {KEY}"
                )
            case ["", "cognitiveservices", "v1"]:
                return await self._azure(request)
            case ["", "v1", "speech"]:
                body = json.loads(request.body)
                asked = Asked(
                    "aws", body["Text"], body["VoiceId"], body["Engine"], body.get("LanguageCode", "")
                )
                signed = _SCOPE.search(request.header("Authorization") or "") is not None
                return await self._speak(asked, signed)
            case ["", "v1", "text:synthesize"]:
                return await self._google(request)
            case ["", "token"]:
                self.tokens += 1
                return Response(200, b'{"access_token": "token-1", "expires_in": 3600}', "application/json")
            case _:
                return Response(404)

    async def _azure(self, request: Request) -> Response:
        speak = ElementTree.fromstring(request.body)
        asked = Asked("azure", speak[0].text or "", speak[0].attrib["name"])
        asked.language = speak.attrib["{http://www.w3.org/XML/1998/namespace}lang"]
        return await self._speak(asked, request.header("Ocp-Apim-Subscription-Key") == KEY)

    async def _google(self, request: Request) -> Response:
        body = json.loads(request.body)
        asked = Asked("google", body["input"]["text"], body["voice"]["name"])
        asked.model, asked.language = body["voice"].get("modelName", ""), body["voice"]["languageCode"]
        asked.prompt = body["input"].get("prompt", "")
        allowed = (
            request.header("X-Goog-Api-Key") == KEY or request.header("Authorization") == "Bearer token-1"
        )
        answer = await self._speak(asked, allowed)
        if answer.status != 200:
            return answer
        content = base64.b64encode(wav(answer.body, RATE_HZ)).decode()
        return Response(200, json.dumps({"audioContent": content}).encode(), "application/json")

    async def _speak(self, asked: Asked, allowed: bool) -> Response:
        self.asked.append(asked)
        self.count[asked.text] += 1
        if not allowed:
            return Response(401, b'{"detail": {"status": "invalid_api_key"}}', "application/json")
        status = _STATUS.search(asked.text)
        if status is not None:
            return Response(int(status[1]))
        if "stall" in asked.text:
            await trio.sleep_forever()
        if "garbage" in asked.text:
            return Response(200, b"<html>no sound</html>", "text/html")
        hertz, length = _HERTZ.search(asked.text), _MILLISECONDS.search(asked.text)
        sound = tone(float(hertz[1]) if hertz else 440.0, int(length[1]) if length else 500, RATE_HZ)
        return Response(200, sound.tobytes(), "audio/pcm")


@asynccontextmanager
async def open_voice_services() -> AsyncIterator[VoiceServices]:
    """All of them on a free port."""
    services = VoiceServices()
    async with serve_http(services.handle) as port:
        services.port = port
        yield services
