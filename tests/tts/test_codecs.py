"""Requests of each provider, judged by the provider's own clients where there is one, and its answers."""

from __future__ import annotations

import base64
import json
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import Credentials as BotoCredentials  # type: ignore[import-untyped]  # it has no types
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.tts.codecs import NOW, FakeOutside, voice
from vb.config import (
    AwsSpeechConfig,
    AzureSpeechConfig,
    DeepgramConfig,
    ElevenLabsConfig,
    GoogleSpeechConfig,
    S3Config,
)
from vb.errors import BadRequest, InvalidField, NotAvailable, Unavailable
from vb.providers.failure import ProviderFailed
from vb.storage.sigv4 import Credentials
from vb.tts.aws import PollyVoices
from vb.tts.azure import AzureVoices, language_of, ssml
from vb.tts.deepgram import DeepgramVoices
from vb.tts.elevenlabs import ElevenLabsVoices
from vb.tts.google import AudioContent, GoogleVoices, read_account
from vb.tts.google import language_of as google_language_of
from vb.tts.http import HttpAnswer, HttpRequest

RACHEL = "21m00Tcm4TlvDq8ikWAM"
TEXT = 'Say "hi" & <goodbye>, ünïcode – 你好'


class Caught:
    """Takes the request of an official client instead of a server."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.request: httpx.Request | None = None
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer))
        self._headers = headers

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return httpx.Response(200, headers=self._headers, content=b"\0\0")

    def same_as(self, ours: HttpRequest) -> None:
        theirs = self.request
        assert theirs is not None
        url, mine = urlsplit(str(theirs.url)), urlsplit(ours.url)
        assert (theirs.method, url.netloc, url.path) == (ours.method, mine.netloc, mine.path)
        assert dict(parse_qsl(url.query)) == dict(parse_qsl(mine.query))
        assert json.loads(theirs.content) == json.loads(ours.content)
        for name in ("xi-api-key", "authorization"):
            sent = {key.lower(): value for key, value in ours.headers.items()}.get(name)
            assert theirs.headers.get(name) == sent


async def test_elevenlabs_is_asked_as_its_own_client_asks() -> None:
    from elevenlabs.client import ElevenLabs

    codec = ElevenLabsVoices(ElevenLabsConfig())
    ours = await codec.request(
        TEXT, codec.check(voice(RACHEL, model_id="eleven_flash_v2_5", language="pl-PL")), FakeOutside()
    )
    caught = Caught()
    client = ElevenLabs(api_key="k-1", httpx_client=caught.client)
    list(
        client.text_to_speech.stream(
            RACHEL,
            text=TEXT,
            model_id="eleven_flash_v2_5",
            language_code="pl",
            output_format="pcm_16000",
        )
    )
    caught.same_as(ours)


@pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")
async def test_deepgram_is_asked_as_its_own_client_asks() -> None:
    from deepgram import DeepgramClient

    codec = DeepgramVoices(DeepgramConfig())
    ours = await codec.request(TEXT, codec.check(voice("aura-2-asteria-en")), FakeOutside())
    caught = Caught()
    client = DeepgramClient(api_key="k-1", httpx_client=caught.client)
    list(
        client.speak.v1.audio.generate(
            text=TEXT,
            model="aura-2-asteria-en",
            encoding="linear16",
            sample_rate=16000,
            container="none",
        )
    )
    caught.same_as(ours)


@pytest.mark.parametrize("token", ["", "session"])
async def test_polly_is_signed_as_amazons_own_signer_signs(token: str) -> None:
    codec = PollyVoices(AwsSpeechConfig(region="eu-west-1"), S3Config())
    own = Credentials("AKIDEXAMPLE", "secret", token)
    wanted = codec.check(voice("Joanna", api_key="", language="en-GB"))
    request = await codec.request(TEXT, wanted, FakeOutside(own=own))
    assert request.url == "https://polly.eu-west-1.amazonaws.com/v1/speech"
    judged = AWSRequest(
        "POST", request.url, {"content-type": request.headers["content-type"]}, request.content
    )
    judged.context["timestamp"] = NOW.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(BotoCredentials("AKIDEXAMPLE", "secret", token or None), "polly", "eu-west-1")
    judged.headers["X-Amz-Date"] = judged.context["timestamp"]
    if token:
        judged.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(judged)
    text = signer.string_to_sign(judged, canonical)
    assert request.headers["authorization"].rpartition("Signature=")[2] == signer.signature(text, judged)


async def test_polly_takes_what_its_service_model_takes() -> None:
    import botocore.session  # type: ignore[import-untyped]  # it has no types
    from botocore.validate import ParamValidator  # type: ignore[import-untyped]  # it has no types

    codec = PollyVoices(AwsSpeechConfig(), S3Config(region="us-west-2"))
    wanted = codec.check(voice("Matthew", api_key="AK:SK", model_id="generative", language="en-US"))
    request = await codec.request("hello", wanted, FakeOutside())
    assert "polly.us-west-2." in request.url
    assert "AK/20260301/us-west-2/polly/aws4_request" in request.headers["authorization"]
    model = botocore.session.get_session().get_service_model("polly").operation_model("SynthesizeSpeech")
    fields = json.loads(request.content)
    assert not ParamValidator().validate(fields, model.input_shape).has_errors()
    for name, value in fields.items():
        known = getattr(model.input_shape.members[name], "enum", None)
        assert not known or value in known


def test_polly_refuses_half_a_key_and_unknown_credentials_are_a_failure() -> None:
    codec = PollyVoices(AwsSpeechConfig(), S3Config())
    for half in ("AKID", "AKID:", "AKID"):
        with pytest.raises(BadRequest):
            codec.check(voice("Joanna", api_key=half))


def test_polly_is_not_available_in_a_region_that_cannot_be() -> None:
    codec = PollyVoices(AwsSpeechConfig(region="eu/west"), S3Config())
    with pytest.raises(NotAvailable, match="AWS_REGION"):
        codec.check(voice("Joanna", api_key=""))
    private = AwsSpeechConfig(region="eu/west", base_url="http://polly.internal")
    PollyVoices(private, S3Config()).check(voice("Joanna", api_key=""))


async def test_polly_uses_the_keys_of_the_settings() -> None:
    config = S3Config.model_validate({"access_key": "AKSET", "secret_key": "s"})
    codec = PollyVoices(AwsSpeechConfig(), config)
    request = await codec.request("x", codec.check(voice("Joanna", api_key="")), FakeOutside())
    assert "Credential=AKSET/" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("status", "kind", "category"),
    [
        (400, "ThrottlingException:http://x", "rate_limited"),
        (400, "TextLengthExceededException", "permanent_input"),
        (403, "UnrecognizedClientException", "permanent_auth"),
        (500, "ServiceFailureException", "service_unavailable"),
        (400, "", "permanent_input"),
    ],
)
def test_amazons_errors_have_categories(status: int, kind: str, category: str) -> None:
    codec = PollyVoices(AwsSpeechConfig(), S3Config())
    failed = codec.failure(HttpAnswer(status, {"x-amzn-errortype": kind}, b"{}"))
    assert failed.category == category


@pytest.mark.parametrize(
    ("status", "body", "category", "shown"),
    [
        (401, {"detail": {"status": "invalid_api_key", "message": "k-1 is bad"}}, "permanent_auth", True),
        (401, {"detail": {"status": "quota_exceeded"}}, "rate_limited", True),
        (404, {"detail": {"status": "voice_not_found"}}, "permanent_input", True),
        (422, {"detail": [{"loc": ["body"]}]}, "permanent_input", False),
        (400, {"detail": "text"}, "permanent_input", False),
        (500, [], "service_unavailable", False),
        (429, "[" * 3000, "rate_limited", False),
        (401, {"detail": {"status": ["k-1"]}}, "permanent_auth", False),
    ],
)
def test_elevenlabs_errors_have_categories_and_show_no_text(
    status: int, body: Any, category: str, shown: bool
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    failed = ElevenLabsVoices(ElevenLabsConfig()).failure(HttpAnswer(status, {}, content.encode()))
    assert failed.category == category
    assert ("(" in str(failed)) is shown
    assert "k-1" not in str(failed)


async def test_a_voice_of_elevenlabs_is_found_by_its_name_once() -> None:
    codec = ElevenLabsVoices(ElevenLabsConfig())
    body = json.dumps({"voices": [{"voice_id": RACHEL, "name": "Rachel"}]}).encode()
    outside = FakeOutside(answers=[HttpAnswer(200, {}, body)] * 2)
    for _ in range(2):
        request = await codec.request("hi", codec.check(voice("rachel")), outside)
        assert f"/v1/text-to-speech/{RACHEL}/stream?" in request.url
    assert [asked.url for asked in outside.asked] == ["https://api.elevenlabs.io/v1/voices"]
    outside.time += timedelta(minutes=11)
    await codec.request("hi", codec.check(voice("rachel")), outside)
    assert len(outside.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(401, {}, b""),
        HttpAnswer(200, {}, b"{}"),
        HttpAnswer(200, {}, b"[1]"),
        HttpAnswer(200, {}, b"[" * 3000),
        HttpAnswer(200, {}, b'{"voices": ["Rachel"]}'),
    ],
)
async def test_a_name_that_nobody_knows_is_asked_for_as_it_is(answer: HttpAnswer) -> None:
    codec = ElevenLabsVoices(ElevenLabsConfig())
    request = await codec.request("hi", codec.check(voice("../a b")), FakeOutside(answers=[answer]))
    assert "/v1/text-to-speech/..%2Fa%20b/stream?" in request.url


async def test_an_id_that_is_no_text_does_no_harm() -> None:
    codec = ElevenLabsVoices(ElevenLabsConfig())
    answer = HttpAnswer(200, {}, b'{"voices": [{"name": "Rachel", "voice_id": "\\ud800/../x"}]}')
    request = await codec.request("hi", codec.check(voice("rachel")), FakeOutside(answers=[answer]))
    assert "/v1/text-to-speech/%3F%2F..%2Fx/stream?" in request.url


@pytest.mark.parametrize("body", [b"[" * 3000, b'{"err_code": NaN}', b'{"error": []}', b"\xff"])
@pytest.mark.parametrize("codec", [DeepgramVoices(DeepgramConfig()), GoogleVoices(GoogleSpeechConfig())])
def test_an_error_that_cannot_be_read_has_the_category_of_its_status(
    codec: DeepgramVoices | GoogleVoices, body: bytes
) -> None:
    assert codec.failure(HttpAnswer(429, {}, body)).category == "rate_limited"


@pytest.mark.parametrize(
    ("name", "language", "spoken"),
    [
        ("aura-2-thalia-en", "en-GB", True),
        ("aura-2-celeste-es", "es", True),
        ("aura-2-celeste-es", "ES_mx", True),
        ("aura-2-thalia-en", "", True),
        ("thalia", "", True),
        ("aura-2-thalia-en", "multi", True),
        ("aura-2-thalia-en", "es", False),
        ("thalia", "en", False),
    ],
)
def test_the_language_of_a_deepgram_voice_is_in_its_name(name: str, language: str, spoken: bool) -> None:
    codec, wanted = DeepgramVoices(DeepgramConfig()), voice(name, language=language, model_id="any")
    if spoken:
        assert codec.check(wanted) == voice(name)
        return
    with pytest.raises(InvalidField, match="language"):
        codec.check(wanted)


def test_without_a_key_it_is_503() -> None:
    for codec in (
        ElevenLabsVoices(ElevenLabsConfig()),
        DeepgramVoices(DeepgramConfig()),
        AzureVoices(AzureSpeechConfig()),
        GoogleVoices(GoogleSpeechConfig()),
    ):
        with pytest.raises(Unavailable):
            codec.check(voice("v", api_key=""))


async def test_azure_speaks_text_and_never_markup() -> None:
    codec = AzureVoices(AzureSpeechConfig(region="westeurope"))
    evil = '</voice><audio src="x"/>&amp;\x00\x0b\ufffe'
    wanted = codec.check(voice('en-GB-"Ryan"', language=""))
    request = await codec.request(evil + TEXT, wanted, FakeOutside())
    assert request.url == "https://westeurope.tts.speech.microsoft.com/cognitiveservices/v1"
    assert request.headers["X-Microsoft-OutputFormat"] == "raw-16khz-16bit-mono-pcm"
    root = ElementTree.fromstring(request.content)
    (spoken,) = root
    assert list(spoken) == []
    assert spoken.text == '</voice><audio src="x"/>&amp;' + TEXT
    assert spoken.attrib == {"name": 'en-GB-"Ryan"'}


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("en-US-JennyNeural", "en-US"),
        ("zh-CN-sichuan-YunxiNeural", "zh-CN"),
        ("zh-CN-liaoning-XiaobeiNeural", "zh-CN"),
        ("sr-Latn-RS-NicholasNeural", "sr-Latn-RS"),
        ("en-US-Ava:DragonHDLatestNeural", "en-US"),
        ("Jenny", "en-US"),
    ],
)
def test_the_language_of_an_azure_voice_is_in_its_name(name: str, language: str) -> None:
    assert language_of(name) == language
    assert f'xml:lang="{language}"' in ssml("x", name, language_of(name))


@pytest.mark.parametrize(
    ("name", "language"), [("en-US-Neural2-F", "en-US"), ("cmn-CN-Wavenet-A", "cmn-CN"), ("Kore", "en-US")]
)
def test_the_language_of_a_google_voice_is_in_its_name(name: str, language: str) -> None:
    assert google_language_of(name) == language


async def test_google_gets_prompt_and_model() -> None:
    codec = GoogleVoices(GoogleSpeechConfig())
    wanted = codec.check(voice("Kore", model_id="gemini-2.5-pro-tts", language="pl-PL", prompt="warmly"))
    request = await codec.request(TEXT, wanted, FakeOutside())
    assert request.headers["X-Goog-Api-Key"] == "k-1"
    assert json.loads(request.content) == {
        "input": {"text": TEXT, "prompt": "warmly"},
        "voice": {"languageCode": "pl-PL", "name": "Kore", "modelName": "gemini-2.5-pro-tts"},
        "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": 16000},
    }


def service_account(key: Any = None, **more: object) -> bytes:
    key = key or rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    fields = {
        "type": "service_account",
        "client_email": "vb@example.iam.gserviceaccount.com",
        "private_key": pem,
        "token_uri": "https://oauth2.example/token",
        **more,
    }
    return json.dumps(fields).encode()


async def test_a_service_account_gets_a_token_and_keeps_it() -> None:
    key = rsa.generate_private_key(65537, 2048)
    codec = GoogleVoices(GoogleSpeechConfig(credentials="/sa.json"))
    token = HttpAnswer(200, {}, b'{"access_token": "t-1", "expires_in": 3599}')
    outside = FakeOutside(files={"/sa.json": service_account(key)}, answers=[token, token])
    wanted = codec.check(voice("en-US-Neural2-F", api_key=""))
    for _ in range(2):
        request = await codec.request("hi", wanted, outside)
        assert request.headers["Authorization"] == "Bearer t-1"
    (asked,) = outside.asked
    form = dict(parse_qsl(asked.content.decode()))
    assert (asked.url, form["grant_type"]) == (
        "https://oauth2.example/token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    )
    header, claims, signature = form["assertion"].split(".")
    key.public_key().verify(_unpadded(signature), f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    assert json.loads(_unpadded(header)) == {"alg": "RS256", "typ": "JWT"}
    said = json.loads(_unpadded(claims))
    assert said["iss"] == "vb@example.iam.gserviceaccount.com"
    assert (said["aud"], said["exp"] - said["iat"]) == ("https://oauth2.example/token", 3600)
    codec.failure(HttpAnswer(401, {}, b""))
    await codec.request("hi", wanted, outside)
    assert len(outside.asked) == 2


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (HttpAnswer(400, {}, b'{"error": "invalid_grant"}'), "permanent_auth"),
        (HttpAnswer(503, {}, b""), "service_unavailable"),
        (HttpAnswer(200, {}, b"nonsense"), "unknown"),
        (HttpAnswer(200, {}, b"[" * 3000), "unknown"),
        (HttpAnswer(200, {}, b'{"access_token": "a\\nb"}'), "unknown"),
        (HttpAnswer(200, {}, b'{"access_token": "\\ud800"}'), "unknown"),
        (HttpAnswer(200, {}, b'{"access_token": ""}'), "unknown"),
        (HttpAnswer(200, {}, b'{"access_token": "t", "expires_in": Infinity}'), "unknown"),
    ],
)
async def test_no_token_is_a_failure(answer: HttpAnswer, category: str) -> None:
    codec = GoogleVoices(GoogleSpeechConfig(credentials="/sa.json"))
    outside = FakeOutside(files={"/sa.json": service_account()}, answers=[answer])
    with pytest.raises(ProviderFailed) as failed:
        await codec.request("hi", codec.check(voice("Kore", api_key="")), outside)
    assert failed.value.category == category


async def test_a_token_that_is_said_to_last_for_ever_is_renewed_after_a_day() -> None:
    codec = GoogleVoices(GoogleSpeechConfig(credentials="/sa.json"))
    answer = HttpAnswer(200, {}, b'{"access_token": "t", "expires_in": 99999999999999999999}')
    outside = FakeOutside(files={"/sa.json": service_account()}, answers=[answer] * 2)
    for _ in range(2):
        request = await codec.request("hi", codec.check(voice("Kore", api_key="")), outside)
        assert request.headers["Authorization"] == "Bearer t"
        outside.time += timedelta(days=2)
    assert len(outside.asked) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 3000,
        b"{}",
        b'{"private_key": 1}',
        service_account(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
        service_account(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=("nothing", "a list", "a deep list", "no field", "a number", "a broken key", "another kind of key"),
)
def test_what_is_no_service_account_is_a_failure(content: bytes) -> None:
    with pytest.raises(ProviderFailed) as failed:
        read_account(content)
    assert failed.value.category == "permanent_auth"


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000])
def test_audio_in_json_is_read_in_any_pieces(step: int) -> None:
    audio = bytes(range(256)) * 4
    text = base64.b64encode(audio).decode().replace("/", "\\/")
    whole = f'{{\n  "audioContent": "{text}",\n "timepoints": []}}'.encode()
    body = AudioContent()
    assert b"".join(body.feed(whole[at : at + step]) for at in range(0, len(whole), step)) == audio
    body.finish()


@pytest.mark.parametrize(
    ("content", "category"),
    [
        (b'{"audioContent": "AAA', "retryable"),
        (b"{}", "retryable"),
        (b'{"audioContent": "A*AA"}', "unknown"),
        (b" " * 5_000, "unknown"),
    ],
)
def test_damaged_audio_in_json_is_a_failure(content: bytes, category: str) -> None:
    with pytest.raises(ProviderFailed) as failed:
        _read_whole(content)
    assert failed.value.category == category


def _read_whole(content: bytes) -> None:
    body = AudioContent()
    body.feed(content)
    body.finish()
