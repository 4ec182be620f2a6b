"""The tasks of playback and recording: the only part of vb.media that waits."""

from vb.media.tasks.blocking import Blocking, ThreadRunner
from vb.media.tasks.download import Download, FetchLimits
from vb.media.tasks.fetch import Fetcher
from vb.media.tasks.player import run_playback
from vb.media.tasks.recorder import run_recorder

__all__ = [
    "Blocking",
    "Download",
    "FetchLimits",
    "Fetcher",
    "ThreadRunner",
    "run_playback",
    "run_recorder",
]
