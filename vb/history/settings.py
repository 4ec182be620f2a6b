"""What the history needs to know, and where the settings say it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vb.config import Config
from vb.errors import ConfigError
from vb.history.database import parse_url
from vb.history.sip_text import SipDetail


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What a history needs to know.

    Attributes:
        url: of the database.
        folder: where what is not yet in the database waits.
        sip: what is kept of SIP messages.
        headers: patterns of the headers that become metadata.
        retention_days: how long ended calls are kept; 0 for ever.
        recordings_folder: where recordings lie that are deleted with their call.
        own_process: whether a process of its own writes, and not a thread of the server.
    """

    url: str
    folder: Path
    sip: SipDetail = "full"
    headers: tuple[str, ...] = ("X-*",)
    retention_days: float = 0
    recordings_folder: str | None = None
    own_process: bool = True


def history_settings(config: Config) -> HistorySettings | None:
    """Return what the settings say about the history; None when there is to be none.

    Raises:
        ConfigError: they need a folder, and name none.
    """
    url, folder = config.history.database_url.get_secret_value(), config.history.data_dir
    if url == "off" or not (url or folder):
        return None
    if not folder:
        database = parse_url(url).database if url.startswith("sqlite") else None
        if not database:
            raise ConfigError("VB_DATA_DIR: the call history needs a folder")
        folder = os.path.dirname(os.path.abspath(database))
    folder = os.path.abspath(folder)
    return HistorySettings(
        url=url or f"sqlite:///{folder}/calls.db",
        folder=Path(folder),
        sip=config.history.sip,
        headers=config.history.headers,
        retention_days=config.history.retention_days,
        recordings_folder=config.recording.dir,
        own_process=config.history.own_process,
    )
