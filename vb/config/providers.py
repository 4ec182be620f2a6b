"""Settings of the services that speak, listen and converse: a key and a base URL for each of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from vb.providers.reading import is_key
from vb.settings import Group, check_url, is_host_name, setting


def check_base_url(value: str) -> str:
    """Accept an http or https URL that paths can be put behind, or nothing."""
    scheme, mark, rest = check_url(value).partition("://")
    if "?" in rest or "#" in rest:
        raise ValueError("must be a URL without a query or a fragment")
    return f"{scheme.lower()}{mark}{rest.rstrip('/')}"


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
"""Where a service answers; private clouds and tests name another place than the public one."""


def check_key(value: SecretStr) -> SecretStr:
    """Accept a key that can stand in a header."""
    if not is_key(value.get_secret_value()):
        raise ValueError("must be printable ASCII without blanks")
    return value


Key = Annotated[SecretStr, AfterValidator(check_key)]
"""A key for a service."""


def _key(env: str, whose: str) -> SecretStr:
    found: SecretStr = setting(env, f"key for {whose}, where a request brings none", SecretStr(""), shown="")
    return found


def _base_url(env: str, whose: str, default: str, shown: str | None = None) -> str:
    found: str = setting(env, f"base URL of {whose}; ws and wss follow from it", default, shown=shown)
    return found


class ElevenLabsConfig(Group):
    """ElevenLabs: voices, transcripts and agents."""

    api_key: Key = _key("ELEVENLABS_API_KEY", "ElevenLabs")
    base_url: BaseUrl = _base_url("VB_ELEVENLABS_BASE_URL", "ElevenLabs", "https://api.elevenlabs.io")


class DeepgramConfig(Group):
    """Deepgram: voices, transcripts and agents."""

    api_key: Key = _key("DEEPGRAM_API_KEY", "Deepgram")
    base_url: BaseUrl = _base_url("VB_DEEPGRAM_BASE_URL", "Deepgram", "https://api.deepgram.com")
    agent_base_url: BaseUrl = _base_url(
        "VB_DEEPGRAM_AGENT_BASE_URL", "Deepgram's agents", "https://agent.deepgram.com"
    )


class AzureSpeechConfig(Group):
    """Azure AI Speech: voices and transcripts."""

    api_key: Key = _key("AZURE_SPEECH_KEY", "Azure AI Speech")
    region: str = setting("AZURE_SPEECH_REGION", "region of Azure AI Speech", "eastus", min_length=1)
    base_url: BaseUrl = _base_url(
        "VB_AZURE_BASE_URL", "Azure AI Speech", "", shown="as AZURE_SPEECH_REGION says"
    )

    @model_validator(mode="after")
    def _check_region(self) -> AzureSpeechConfig:
        """Refuse a region that is used and cannot be; where there is no key it may say what it likes."""
        if self.api_key.get_secret_value() and not self.base_url and not is_host_name(self.region):
            raise ValueError("AZURE_SPEECH_REGION: must be part of a host name")
        return self


class AwsSpeechConfig(Group):
    """Amazon Polly; its keys are those of `AWS_ACCESS_KEY_ID`, or as Amazon's tools find them."""

    region: str = setting("AWS_REGION", "region of Amazon Polly", "", shown="S3_REGION")
    base_url: BaseUrl = _base_url("VB_AWS_BASE_URL", "Amazon Polly", "", shown="as AWS_REGION says")


class GoogleSpeechConfig(Group):
    """Google Cloud Text-to-Speech."""

    credentials: str = setting(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "file of a service account for Google, where a request has no key",
        "",
    )
    base_url: BaseUrl = _base_url("VB_GOOGLE_BASE_URL", "Google", "https://texttospeech.googleapis.com")


class VapiConfig(Group):
    """VAPI: agents."""

    api_key: Key = _key("VAPI_API_KEY", "VAPI")
    base_url: BaseUrl = _base_url("VB_VAPI_BASE_URL", "VAPI", "https://api.vapi.ai")


class UltravoxConfig(Group):
    """Ultravox: agents."""

    api_key: Key = _key("ULTRAVOX_API_KEY", "Ultravox")
    base_url: BaseUrl = _base_url("VB_ULTRAVOX_BASE_URL", "Ultravox", "https://api.ultravox.ai")


class LocalSpeechConfig(Group):
    """Voices and transcripts by engines on this machine: `local`."""

    models_dir: str = setting(
        "VB_MODELS_DIR",
        "folder of voices and models for local speech",
        "",
        shown="vb/models in the state folder",
    )
    voice: str = setting("VB_LOCAL_VOICE", "voice of local speech where a request names none", "")
    model: str = setting("VB_LOCAL_MODEL", "model that listens where a request names none", "")
    turn_model: str = setting(
        "VB_TURN_MODEL",
        "ONNX file that tells whether a user who pauses has finished, such as Smart Turn v3; empty = none",
        "",
    )
    utterances: Annotated[int, Field(ge=1, le=1000)] = setting(
        "VB_LOCAL_UTTERANCES", "most utterances that are spoken or wait at a time; more get 503", 32
    )
    transcripts: Annotated[int, Field(ge=1, le=1000)] = setting(
        "VB_LOCAL_TRANSCRIPTS", "most legs whose words are written at a time; more get 503", 32
    )
    memory_mb: Annotated[int, Field(ge=256)] = setting(
        "VB_LOCAL_MEMORY_MB",
        "memory from which on the engines are started anew as soon as they are idle; at twice that at once",
        1024,
    )
