"""Settings: one frozen definition from which the environment, `--help` and the documentation are read.

Every setting names its environment variable, default and meaning once. `Config.from_env` is called at the
edge only (the command line); embedders build `Config(...)` directly.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError, model_validator

from vb.config.agents import AgentConfig
from vb.config.calls import (
    HttpConfig,
    MoqConfig,
    RoomConfig,
    RtpConfig,
    ServerConfig,
    SipConfig,
    SpeechConfig,
    WebhookConfig,
    WebRtcConfig,
    WebSocketConfig,
    WhatsAppConfig,
)
from vb.config.providers import (
    AwsSpeechConfig,
    AzureSpeechConfig,
    DeepgramConfig,
    ElevenLabsConfig,
    GoogleSpeechConfig,
    LocalSpeechConfig,
    UltravoxConfig,
    VapiConfig,
)
from vb.config.storage import (
    HistoryConfig,
    RecordingConfig,
    S3Config,
)
from vb.config.tracing import TracingConfig
from vb.config.tts import VoiceConfig
from vb.errors import ConfigError
from vb.settings import Group

__all__ = [
    "AgentConfig",
    "Config",
    "SettingRow",
    "settings_table",
    "HttpConfig",
    "MoqConfig",
    "RoomConfig",
    "RtpConfig",
    "ServerConfig",
    "SipConfig",
    "SpeechConfig",
    "WebRtcConfig",
    "WhatsAppConfig",
    "WebSocketConfig",
    "WebhookConfig",
    "AwsSpeechConfig",
    "AzureSpeechConfig",
    "DeepgramConfig",
    "ElevenLabsConfig",
    "GoogleSpeechConfig",
    "LocalSpeechConfig",
    "TracingConfig",
    "UltravoxConfig",
    "VapiConfig",
    "VoiceConfig",
    "HistoryConfig",
    "RecordingConfig",
    "S3Config",
]

MESSAGE_CHARS: Final = 200
"""How much is said about a value that cannot be used."""


def _state_folder(environ: Mapping[str, str]) -> str:
    """Return where a program keeps what should outlive it, as the XDG base directories have it."""
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return f"{state.rstrip('/')}/vb"
    return f"{home.rstrip('/')}/.local/state/vb" if home.startswith("/") else ""


class Config(Group):
    """All settings of one server."""

    server: ServerConfig = ServerConfig()
    http: HttpConfig = HttpConfig()
    webhook: WebhookConfig = WebhookConfig()
    sip: SipConfig = SipConfig()
    rtp: RtpConfig = RtpConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    whatsapp: WhatsAppConfig = WhatsAppConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    moq: MoqConfig = MoqConfig()
    rooms: RoomConfig = RoomConfig()
    speech: SpeechConfig = SpeechConfig()
    recording: RecordingConfig = RecordingConfig()
    s3: S3Config = S3Config()
    history: HistoryConfig = HistoryConfig()
    voices: VoiceConfig = VoiceConfig()
    elevenlabs: ElevenLabsConfig = ElevenLabsConfig()
    deepgram: DeepgramConfig = DeepgramConfig()
    azure: AzureSpeechConfig = AzureSpeechConfig()
    aws: AwsSpeechConfig = AwsSpeechConfig()
    google: GoogleSpeechConfig = GoogleSpeechConfig()
    vapi: VapiConfig = VapiConfig()
    ultravox: UltravoxConfig = UltravoxConfig()
    agents: AgentConfig = AgentConfig()
    local_speech: LocalSpeechConfig = LocalSpeechConfig()
    tracing: TracingConfig = TracingConfig()

    @model_validator(mode="after")
    def _check_ports(self) -> Config:
        low, high = self.rtp.port_min, self.rtp.port_max
        if (low == 0) != (high == 0):
            raise ValueError("RTP_PORT_MIN and RTP_PORT_MAX must both be 0 or both be set")
        if high and (low >= high or high - low < 100):
            raise ValueError("RTP_PORT_MIN must lie at least 100 below RTP_PORT_MAX")
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read the settings from a mapping of environment variables.

        Raises:
            ConfigError: a value cannot be used; the message is one line that names the setting.
        """
        values: dict[str, dict[str, Any]] = {}
        for row in _SETTINGS:
            raw = environ.get(row.name)
            if raw is not None and raw.strip() != "":
                values.setdefault(row.group, {})[row.field] = _plain(row, raw.strip())
        if not values.get("server", {}).get("instance_id"):
            values.setdefault("server", {})["instance_id"] = str(uuid.uuid4())
        history = values.setdefault("history", {})
        state = _state_folder(environ)
        history.setdefault("data_dir", state)
        values.setdefault("local_speech", {}).setdefault("models_dir", f"{state}/models" if state else "")
        try:
            return cls.model_validate(values)
        except ValidationError as exc:
            raise ConfigError(_one_line(exc)) from None


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as documents show it."""

    name: str
    default: str
    kind: str
    meaning: str
    group: str
    field: str


def _kind(annotation: Any) -> str:
    text = str(annotation)
    if annotation is bool or "parse_bool" in text:
        return "bool"
    if "Literal" in text:
        return " | ".join(get_args(annotation))
    if "parse_duration" in text:
        return "duration"
    if "tuple[" in text:
        return "list"
    return "int" if annotation is int or "int" in text.split("|")[0] else "str"


def _rows() -> list[SettingRow]:
    rows = []
    for group, info in Config.model_fields.items():
        model = info.annotation
        assert model is not None
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            shown = extra["shown"]
            if shown is None:
                default = field.default
                shown = (
                    str(default).lower()
                    if isinstance(default, bool)
                    else str(default or ("0" if default == 0 else ""))
                )
                shown = "" if default == () else shown
            annotation = (field.annotation, *field.metadata)
            kind = _kind(field.annotation if not field.metadata else annotation)
            rows.append(SettingRow(str(extra["env"]), str(shown), kind, field.description or "", group, name))
    return rows


_SETTINGS = _rows()
_BY_PATH = {(row.group, row.field): row.name for row in _SETTINGS}


def settings_table() -> list[SettingRow]:
    """Return every setting in the order of the documentation."""
    return list(_SETTINGS)


def _plain(row: SettingRow, text: str) -> str:
    """Return the text of a setting, in which nothing is hidden; a list may stand on several lines.

    Raises:
        ConfigError: it has bytes that are not UTF-8 (surrogates to Python), or control characters.
    """
    items = [item.strip() for item in text.split(",")] if row.kind == "list" else [text]
    if any(unicodedata.category(char) in ("Cc", "Cs") for item in items for char in item):
        raise ConfigError(f"{row.name}: must be text in UTF-8, without line breaks and control characters")
    return text


def _one_line(exc: ValidationError) -> str:
    error = exc.errors(include_url=False)[0]
    path = tuple(str(part) for part in error["loc"][:2])
    name = _BY_PATH.get((path[0], path[1])) if len(path) == 2 else None
    message = str(error["msg"]).removeprefix("Value error, ")
    if len(message) > MESSAGE_CHARS:  # it may quote the value
        message = f"{message[:MESSAGE_CHARS]}…"
    return " ".join(f"{name}: {message}".split()) if name else " ".join(message.split())
