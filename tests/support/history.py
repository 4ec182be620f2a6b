"""Histories as tests open them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from vb.config import HistoryConfig
from vb.history.settings import HistorySettings

_IN_THREAD: Final = {"own_process": False}
"""Tests that are not about the process do not wait for one."""


def history_of(url: str, folder: Path, **more: Any) -> HistorySettings:
    """A history that a thread writes, unless more is said."""
    return HistorySettings(url, folder, **{**_IN_THREAD, **more})


def history_config(folder: Path, **more: Any) -> HistoryConfig:
    """Settings of such a history in a folder."""
    return HistoryConfig.model_validate({"data_dir": str(folder), **_IN_THREAD, **more})
