"""Where an object lies, as it is kept for later: its address, and whose credentials open it, never these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

OpenedBy = Literal["server", "request"]
_SCHEME: Final = "s3://"
_AMAZON: Final = "-"
_OWNERS: Final = ("server", "request")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket.

    Attributes:
        bucket: its name.
        key: of the object.
        opened_by: `server` when the server's own credentials lead there; those of a request are not kept.
        region: that requests are signed for; "" for the one of the server's own bucket.
        endpoint: URL of the storage, "" for Amazon's.
    """

    bucket: str
    key: str
    opened_by: OpenedBy = "server"
    region: str = ""
    endpoint: str = ""

    @property
    def url(self) -> str:
        """The address as events tell it."""
        return f"{_SCHEME}{self.bucket}/{self.key}"

    def text(self) -> str:
        """Return all of it on one line; `parse_object` reads it."""
        return f"{self.opened_by} {self.region or _AMAZON} {self.endpoint or _AMAZON} {self.url}"


def parse_object(text: str) -> StoredObject | None:
    """Return the object of a text, or of a plain `s3://bucket/key`; None when it is neither."""
    parts = text.split(" ", 3)
    if text.startswith(_SCHEME):
        parts = ["server", _AMAZON, _AMAZON, text]
    if len(parts) != 4 or parts[0] not in _OWNERS or not parts[3].startswith(_SCHEME):
        return None
    bucket, _, key = parts[3].removeprefix(_SCHEME).partition("/")
    if not bucket or not key:
        return None
    region, endpoint = ("" if part == _AMAZON else part for part in parts[1:3])
    return StoredObject(bucket, key, cast("OpenedBy", parts[0]), region, endpoint)
