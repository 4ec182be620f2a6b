"""Voices that a call may have had, by their providers."""

from __future__ import annotations

from typing import Any, Literal

from vb.history.base import Model, omitted


class ElevenLabsVoicePronunciationDictionaryReference(Model):
    """A pronunciation dictionary at ElevenLabs."""

    dictionary_id: str | None = omitted()
    version_id: str | None = omitted()


class ElevenLabsVoice(Model):
    """A voice of ElevenLabs."""

    voice_id: str | None = omitted()
    model: str | None = omitted()
    speed: float | None = omitted()
    use_speaker_boost: bool | None = omitted()
    style: float | None = omitted()
    similarity_boost: float | None = omitted()
    stability: float | None = omitted()
    pronunciation_dictionaries: list[ElevenLabsVoicePronunciationDictionaryReference] | None = omitted()
    optimize_streaming_latency: int | None = omitted()
    max_sample_rate: int | None = omitted()


class CartesiaVoiceCartesiaGenerationConfig(Model):
    """How Cartesia generates speech."""

    volume: float | None = omitted()
    speed: float | None = omitted()
    emotion: str | None = omitted()
    pronunciation_dict_id: str | None = omitted()


class CartesiaVoice(Model):
    """A voice of Cartesia."""

    voice_id: str | None = omitted()
    model: str | None = omitted()
    speed: float | None = omitted()
    emotion: str | None = omitted()
    emotions: list[str] | None = omitted()
    generation_config: CartesiaVoiceCartesiaGenerationConfig | None = omitted()


class LmntVoice(Model):
    """A voice of LMNT."""

    voice_id: str | None = omitted()
    model: str | None = omitted()
    speed: float | None = omitted()
    conversational: bool | None = omitted()


class GoogleVoice(Model):
    """A voice of Google."""

    voice_id: str | None = omitted()
    speaking_rate: float | None = omitted()


class InworldVoice(Model):
    """A voice of Inworld."""

    voice_id: str | None = omitted()
    model_id: str | None = omitted()
    speaking_rate: float | None = omitted()
    temperature: float | None = omitted()
    apply_text_normalization: bool | None = omitted()


class RespeecherVoice(Model):
    """A voice of Respeecher."""

    voice_id: str | None = omitted()
    model: str | None = omitted()
    seed: int | None = omitted()
    temperature: float | None = omitted()
    top_k: int | None = omitted()
    top_p: float | None = omitted()
    min_p: float | None = omitted()
    presence_penalty: float | None = omitted()
    repetition_penalty: float | None = omitted()
    frequency_penalty: float | None = omitted()


class GenericVoice(Model):
    """A voice behind any HTTP endpoint."""

    url: str | None = omitted()
    headers: dict[str, str] | None = omitted()
    body: dict[str, Any] | None = omitted()
    response_sample_rate: int | None = omitted()
    response_words_per_minute: int | None = omitted()
    response_mime_type: str | None = omitted()
    json_audio_field_path: str | None = omitted()
    json_byte_encoding: (
        Literal["JSON_BYTE_ENCODING_UNSPECIFIED", "JSON_BYTE_ENCODING_BASE64", "JSON_BYTE_ENCODING_HEX"]
        | None
    ) = omitted()


class ExternalVoice(Model):
    """A voice by its provider: exactly one is set."""

    eleven_labs: ElevenLabsVoice | None = omitted()
    cartesia: CartesiaVoice | None = omitted()
    lmnt: LmntVoice | None = omitted()
    google: GoogleVoice | None = omitted()
    inworld: InworldVoice | None = omitted()
    respeecher: RespeecherVoice | None = omitted()
    generic: GenericVoice | None = omitted()
