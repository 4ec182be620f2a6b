"""The names of recordings: drawn from the clock, or chosen by the client."""

import re
from datetime import datetime
from typing import Final

SUFFIX: Final = ".wav"
MAX_NAME_CHARS: Final = 128
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


def chosen_name(name: str) -> str:
    """Return the file name for a name that a client chose; the extension is added when it is missing.

    Raises:
        ValueError: it is not one plain path segment of letters, digits and ``-_.``, starts or ends with
            a dot, has two dots in a row, or is longer than 128 bytes with its extension.
    """
    full = name if name.endswith(SUFFIX) else name + SUFFIX
    if len(full) > MAX_NAME_CHARS or ".." in name or not _CHOSEN.fullmatch(name):
        raise ValueError("invalid recording filename")
    return full
