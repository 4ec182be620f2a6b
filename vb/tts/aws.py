"""Amazon Polly: voices by HTTP, signed.

Spec: Amazon Polly API, SynthesizeSpeech.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from vb.config.providers import AwsSpeechConfig
from vb.config.storage import S3Config
from vb.errors import BadRequest, NotAvailable
from vb.providers.failure import FailureCategory, ProviderFailed
from vb.settings import is_host_name
from vb.storage.sigv4 import Credentials, encode_path, sign
from vb.tts.base import Capabilities, Voice
from vb.tts.http import RATE_HZ, HttpAnswer, HttpRequest, Outside, PlainBody, refused

NAME: Final = "aws"
DEFAULT_ENGINE: Final = "neural"
ENGINES: Final = frozenset({"standard", "neural", "long-form", "generative"})
_BY_TYPE: Final[dict[str, FailureCategory]] = {
    "ThrottlingException": "rate_limited",
    "ThrottledException": "rate_limited",
    "ServiceFailureException": "service_unavailable",
    "UnrecognizedClientException": "permanent_auth",
    "InvalidSignatureException": "permanent_auth",
    "ExpiredTokenException": "permanent_auth",
}


class PollyVoices:
    """The codec.

    Args:
        config: region and base URL.
        s3: keys, and the region where Polly has none of its own.
    """

    name = NAME
    capabilities = Capabilities(models=ENGINES, max_text=2_900)

    def __init__(self, config: AwsSpeechConfig, s3: S3Config) -> None:
        self._s3 = s3
        self._region = config.region or s3.region
        self._usable = bool(config.base_url) or is_host_name(self._region)
        self._base_url = config.base_url or f"https://polly.{self._region}.amazonaws.com"

    def check(self, voice: Voice) -> Voice:
        """Fill in the engine, and the key where the server has one of its own."""
        if not self._usable:
            raise NotAvailable("aws: the server's AWS_REGION is no part of a host name")
        access, colon, secret = voice.api_key.get_secret_value().partition(":")
        if access and not (colon and secret):
            raise BadRequest("api_key: must be ACCESS_KEY:SECRET_KEY for aws")
        return replace(voice, model_id=voice.model_id or DEFAULT_ENGINE)

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the signed request for a text."""
        credentials = self._own(voice.api_key) or await outside.credentials()
        fields: dict[str, Any] = {
            "Engine": voice.model_id,
            "OutputFormat": "pcm",
            "SampleRate": str(RATE_HZ),
            "Text": text,
            "TextType": "text",
            "VoiceId": voice.voice,
        }
        if voice.language:
            fields["LanguageCode"] = voice.language
        content = json.dumps(fields).encode()
        target = urlsplit(f"{self._base_url}/v1/speech")
        headers = sign(
            "POST",
            encode_path(target.path),
            "",
            {"host": target.netloc, "content-type": "application/json"},
            sha256=hashlib.sha256(content).hexdigest(),
            credentials=credentials,
            region=self._region,
            now=outside.now(),
            service="polly",
        )
        del headers["host"]
        return HttpRequest("POST", target.geturl(), headers, content)

    def _own(self, api_key: SecretStr) -> Credentials | None:
        """Return the credentials of a request, or of the settings; None to look for the machine's."""
        access, _, secret = api_key.get_secret_value().partition(":")
        if access:
            return Credentials(access, secret)
        s3 = self._s3
        access, secret = s3.access_key.get_secret_value(), s3.secret_key.get_secret_value()
        return Credentials(access, secret, s3.session_token.get_secret_value()) if access and secret else None

    def body(self) -> PlainBody:
        """Return what reads an answer: it is audio as it comes."""
        return PlainBody()

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means; throttling comes as 400."""
        code = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        return refused(NAME, answer.status, code, _BY_TYPE.get(code))
