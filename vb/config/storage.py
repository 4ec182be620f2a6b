"""Settings of what outlives a call: recordings and the history."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from vb.settings import Bool, Group, Seconds, Words, setting


def _check_database(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    scheme = text.partition("://")[0].partition("+")[0]
    if text not in ("", "off") and scheme not in ("sqlite", "postgresql", "postgres"):
        raise ValueError("must be an sqlite or postgresql URL, or off")
    return value


class RecordingConfig(Group):
    """Recordings."""

    dir: Annotated[str, Field(min_length=1)] = setting(
        "RECORDING_DIR", "where recordings are written", "/tmp/recordings"
    )


class S3Config(Group):
    """Where recordings go with the storage `s3`, unless a request says otherwise."""

    bucket: str = setting("S3_BUCKET", "bucket for recordings; empty = none", "")
    region: str = setting("S3_REGION", "its region", "us-east-1", min_length=1)
    endpoint: str = setting(
        "S3_ENDPOINT", "URL of an S3-compatible server; requests are path-style", "", shown="Amazon's"
    )
    prefix: str = setting("S3_PREFIX", "what every key begins with; no slash is added", "")
    allow_insecure_endpoint: Bool = setting(
        "S3_ALLOW_INSECURE_ENDPOINT", "allow http:// endpoints on public hosts", False
    )
    preflight_timeout_s: Seconds = setting(
        "S3_PREFLIGHT_TIMEOUT",
        "how long the start waits for a check of the bucket; 0 = no check",
        10.0,
        shown="10s",
    )
    request_preflight_timeout_s: Seconds = setting(
        "S3_REQUEST_PREFLIGHT_TIMEOUT", "the same when a recording starts; 0 = no check", 2.0, shown="2s"
    )
    access_key: SecretStr = setting(
        "AWS_ACCESS_KEY_ID", "access key for the bucket", SecretStr(""), shown="as Amazon's tools find it"
    )
    secret_key: SecretStr = setting("AWS_SECRET_ACCESS_KEY", "its secret key", SecretStr(""), shown="")
    session_token: SecretStr = setting(
        "AWS_SESSION_TOKEN", "token of temporary credentials", SecretStr(""), shown=""
    )


class HistoryConfig(Group):
    """The history of calls."""

    database_url: Annotated[SecretStr, AfterValidator(_check_database)] = setting(
        "VB_DATABASE_URL",
        "where calls are stored: an SQLite or PostgreSQL URL, or off",
        SecretStr(""),
        shown="SQLite file in VB_DATA_DIR",
    )
    data_dir: str = setting(
        "VB_DATA_DIR",
        "folder of the file of calls, and of what waits for the database",
        "",
        shown="~/.local/state/vb",
    )
    sip: Literal["off", "headers", "full"] = setting(
        "VB_HISTORY_SIP", "what is stored of SIP messages, always without secrets", "full"
    )
    headers: Words = setting(
        "VB_HISTORY_HEADERS",
        "headers of calls that become their metadata; * stands for any characters",
        ("X-*", "P-*"),
        shown="X-*,P-*",
    )
    own_process: Bool = setting(
        "VB_HISTORY_PROCESS",
        "write the history in a process of its own, so that calls do not notice; false = in a thread",
        True,
    )
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = setting(
        "VB_RETENTION_DAYS",
        "days that ended calls and their recordings are kept; 0 = for ever",
        0,
    )
