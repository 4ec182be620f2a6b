"""Google Cloud Text-to-Speech: voices by HTTP, with an API key or a service account.

Spec: Cloud Text-to-Speech API v1, text:synthesize; RFC 7523 for tokens of service accounts.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vb.config.providers import GoogleSpeechConfig
from vb.errors import Unavailable
from vb.providers.failure import ProviderFailed
from vb.providers.reading import ODD
from vb.tts.base import Capabilities, Voice
from vb.tts.http import RATE_HZ, HttpAnswer, HttpRequest, Outside, refused

NAME: Final = "google"
DEFAULT_LANGUAGE: Final = "en-US"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_S: Final = 3600
_MAX_TOKEN_S: Final = 86_400
_TOKEN: Final = re.compile(r"[!-~]+")
"""What may stand in a header."""
_SPARE: Final = timedelta(minutes=2)
"""A token is renewed that long before it ends."""
_VOICE = re.compile(r"([a-z]{2,3}-[A-Za-z]{2,4})-.+")
_AUDIO = re.compile(rb'"audioContent"\s*:\s*"')
_MAX_BEFORE_AUDIO: Final = 4096
_NO_ACCOUNT: Final = f"{NAME}: the credentials are no service account"


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


class GoogleVoices:
    """The codec.

    Args:
        config: service account and base URL.
    """

    name = NAME
    capabilities = Capabilities(prompt=True, max_text=3_900, measure=_utf8_bytes, patience_s=20.0)

    def __init__(self, config: GoogleSpeechConfig) -> None:
        self._config = config
        self._token = ""
        self._token_until: datetime | None = None

    def check(self, voice: Voice) -> Voice:
        """Fill in the language."""
        if not voice.api_key.get_secret_value() and not self._config.credentials:
            raise Unavailable("no Google API key or service account provided")
        return replace(voice, language=voice.language or language_of(voice.voice))

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the request for a text; a token for the service account is fetched before, now and then."""
        spoken: dict[str, str] = {"text": text}
        if voice.prompt:
            spoken["prompt"] = voice.prompt
        chosen = {"languageCode": voice.language, "name": voice.voice}
        if voice.model_id:
            chosen["modelName"] = voice.model_id
        body: dict[str, Any] = {
            "input": spoken,
            "voice": chosen,
            "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": RATE_HZ},
        }
        return HttpRequest(
            "POST",
            f"{self._config.base_url}/v1/text:synthesize",
            {"Content-Type": "application/json", **await self._authorization(voice, outside)},
            json.dumps(body).encode(),
        )

    async def _authorization(self, voice: Voice, outside: Outside) -> dict[str, str]:
        key = voice.api_key.get_secret_value()
        if key:
            return {"X-Goog-Api-Key": key}
        if self._token_until is None or outside.now() > self._token_until:
            account = read_account(await outside.read_file(self._config.credentials))
            answer = await outside.ask(account.token_request(outside.now()))
            self._token, lasts_s = _token_in(answer)
            self._token_until = outside.now() + timedelta(seconds=lasts_s) - _SPARE
        return {"Authorization": f"Bearer {self._token}"}

    def body(self) -> AudioContent:
        """Return what reads an answer: the audio is inside JSON."""
        return AudioContent()

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means."""
        if answer.status == 401:
            self._token_until = None
        try:
            code = json.loads(answer.body)["error"]["status"]
        except ODD:
            code = None
        return refused(NAME, answer.status, code)


class AudioContent:
    """Reads the base64 text in `{"audioContent": "…"}` while it arrives.

    The audio of minutes is megabytes of JSON: taken at once, reading it would hold up the calls of others.
    """

    def __init__(self) -> None:
        self._held = b""
        self._begun = self._ended = False

    def content_type(self, answered: str) -> str:
        """Return nothing: the audio says itself what it is."""
        return ""

    def feed(self, data: bytes) -> bytes:
        """Return the audio in the next bytes.

        Raises:
            ProviderFailed: they are no such JSON.
        """
        if self._ended:
            return b""
        data = self._held + data
        if not self._begun:
            match = _AUDIO.search(data)
            if match is None:
                if len(data) > _MAX_BEFORE_AUDIO:
                    raise ProviderFailed("unknown", f"{NAME}: the answer holds no audio")
                self._held = data
                return b""
            self._begun, data = True, data[match.end() :]
        text, quote, _ = data.partition(b'"')
        self._ended = bool(quote)
        text = text.replace(b"\\", b"")
        whole = len(text) if self._ended else len(text) // 4 * 4
        self._held = text[whole:]
        try:
            return base64.b64decode(text[:whole], validate=True)
        except binascii.Error:
            raise ProviderFailed("unknown", f"{NAME}: the audio is damaged") from None

    def finish(self) -> None:
        """Say that the body is complete.

        Raises:
            ProviderFailed: its audio is not.
        """
        if not self._ended:
            raise ProviderFailed("retryable", f"{NAME}: the answer breaks off")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """In whose name tokens are asked for, as the file of a service account tells."""

    email: str
    key: RSAPrivateKey
    token_url: str

    def token_request(self, now: datetime) -> HttpRequest:
        """Return the request for a token.  Spec: RFC 7523 §2.1."""
        issued = int(now.timestamp())
        claims = {
            "iss": self.email,
            "scope": _SCOPE,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + _TOKEN_S,
        }
        signed = b".".join(
            _base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)
        )
        signature = self.key.sign(signed, PKCS1v15(), SHA256())
        assertion = b".".join((signed, _base64url(signature))).decode()
        return HttpRequest(
            "POST",
            self.token_url,
            {"Content-Type": "application/x-www-form-urlencoded"},
            urlencode({"grant_type": _GRANT, "assertion": assertion}).encode(),
        )


def read_account(data: bytes) -> ServiceAccount:
    """Read the file of a service account.

    Raises:
        ProviderFailed: it is none.
    """
    try:
        fields = json.loads(data)
        key = load_pem_private_key(fields["private_key"].encode(), None)
        email, token_url = str(fields["client_email"]), str(fields["token_uri"])
    except (*ODD, UnsupportedAlgorithm):
        raise ProviderFailed("permanent_auth", _NO_ACCOUNT) from None
    if not isinstance(key, RSAPrivateKey):
        raise ProviderFailed("permanent_auth", _NO_ACCOUNT)
    return ServiceAccount(email, key, token_url)


def _token_in(answer: HttpAnswer) -> tuple[str, int]:
    """Return the token in an answer, and for how many seconds it is good."""
    if answer.status != 200:
        failed = refused(NAME, answer.status)
        auth = failed.category == "permanent_input"
        raise ProviderFailed(
            "permanent_auth" if auth else failed.category, f"{NAME}: no token, status {answer.status}"
        )
    try:
        fields = json.loads(answer.body)
        token, lasts_s = str(fields["access_token"]), int(fields.get("expires_in", _TOKEN_S))
        if not _TOKEN.fullmatch(token):
            raise ValueError("no token")
        return token, min(lasts_s, _MAX_TOKEN_S)
    except ODD:
        raise ProviderFailed("unknown", f"{NAME}: the token cannot be read") from None


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def language_of(voice: str) -> str:
    """Return the language that a voice's full name begins with."""
    match = _VOICE.fullmatch(voice)
    return match[1] if match else DEFAULT_LANGUAGE
