"""The names of recordings: drawn from the clock, chosen by the client, or of what a killed process left."""

import re
from datetime import datetime
from typing import Final

SUFFIX: Final = ".wav"
TEMPORARY_PREFIX: Final = ".rec-"
TEMPORARY_SUFFIX: Final = ".tmp"
MAX_NAME_CHARS: Final = 128
_TIME: Final = "[0-9]{8}_[0-9]{6}"
_DRAWN: Final = re.compile(rf"{_TIME}_([0-9a-f]{{8}})\.wav")
_RECOVERED: Final = re.compile(rf"recovered_{_TIME}_([0-9a-f]{{8}}(?:-[0-9]+)?)\.wav")
_CHOSEN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")


def recording_name(started: datetime, token: str) -> str:
    """Return the file name of a recording: local time of its start and eight hex digits."""
    return f"{started:%Y%m%d_%H%M%S}_{token}{SUFFIX}"


def multi_channel_name(finished: datetime, token: str) -> str:
    """Return the file name of a recording with a channel per participant: local time of its end."""
    return f"{finished:%Y%m%d_%H%M%S}_multichannel_{token}{SUFFIX}"


def recovered_name(modified: datetime, token: str) -> str:
    """Return the file name of what a killed process left: local time of its last write."""
    return f"recovered_{modified:%Y%m%d_%H%M%S}_{token}{SUFFIX}"


def temporary_name(token: str) -> str:
    """Return the file name of a recording while it is written."""
    return f"{TEMPORARY_PREFIX}{token}{TEMPORARY_SUFFIX}"


def temporary_token(name: str) -> str | None:
    """Return the token of a file name that `temporary_name` has made; None for any other."""
    if not (name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)):
        return None
    return name.removeprefix(TEMPORARY_PREFIX).removesuffix(TEMPORARY_SUFFIX)


def drawn_token(name: str) -> str | None:
    """Return the eight digits of a file name that `recording_name` has made; None for any other."""
    found = _DRAWN.fullmatch(name)
    return found and found[1]


def recovered_token(name: str) -> str | None:
    """Return the token of a file name that `recovered_name` has made; None for any other.

    Those are the digits that the recording was to have in its name, and of a file with a channel per
    participant a dash and their number after them.
    """
    found = _RECOVERED.fullmatch(name)
    return found and found[1]


def chosen_name(name: str) -> str:
    """Return the file name for a name that a client chose; the extension is added when it is missing.

    Raises:
        ValueError: it is not one plain path segment of letters, digits and ``-_.``, starts or ends with
            a dot, has two dots in a row, is longer than 128 bytes with its extension, or is one of those
            that tell which recording something was recovered of.
    """
    full = name if name.endswith(SUFFIX) else name + SUFFIX
    if len(full) > MAX_NAME_CHARS or ".." in name or not _CHOSEN.fullmatch(name):
        raise ValueError("invalid recording filename")
    if drawn_token(full) or recovered_token(full):
        raise ValueError("invalid recording filename: the server draws such names itself")
    return full
