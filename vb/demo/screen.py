"""What the user sees: a picture that lives on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vb.demo.caller import Caller
from vb.demo.check import Check

PICTURE_INTERVAL_S: Final = 0.1
LINE_INTERVAL_S: Final = 1.0
_NOTES: Final = 16
_QUIETEST_DBFS: Final = -60.0
_METER_WIDTH: Final = 16


class Screen:
    """Shows callers and notes while the calls run.

    Args:
        console: where to.
        callers: whose levels and packets are shown.
    """

    def __init__(self, console: Console, callers: Sequence[Caller]) -> None:
        self._console = console
        self._phones = callers
        self._notes: deque[Text] = deque(maxlen=_NOTES)
        self._begun = trio.current_time()

    def note(self, who: str, what: str) -> None:
        """Tell that something happened."""
        line = Text.assemble(
            (f"{trio.current_time() - self._begun:5.1f} s  ", "dim"), (f"{who:<8}", "bold"), what
        )
        self._notes.append(line)
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)

    async def run(self) -> None:
        """Show progress until cancelled; the last picture stays."""
        if self._console.is_terminal:
            await self._run_picture()
        while True:
            await trio.sleep(LINE_INTERVAL_S)
            for caller in self._phones:
                if caller.sent:
                    self.note(caller.name, _line(caller))

    async def _run_picture(self) -> None:
        # Drawn by this task and not by a thread of the library, so that it never meets half a change.
        with Live(self._picture(), console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    await trio.sleep(PICTURE_INTERVAL_S)
                    live.update(self._picture(), refresh=True)
            finally:
                live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        table = Table("caller", "says", "hears", "sent", "received", "lost", "jitter", "MOS")
        for column in table.columns[3:]:
            column.justify = "right"
        for caller in self._phones:
            quality = caller.quality()
            table.add_row(
                caller.name,
                _meter(caller.said.level_dbfs(), "cyan"),
                _meter(caller.heard.level_dbfs(), "green"),
                str(caller.sent),
                *(
                    ("", "", "", "")
                    if quality is None
                    else (
                        str(quality.rtp_packets_received),
                        str(quality.rtp_packets_lost),
                        f"{quality.rtp_jitter_ms:.1f} ms",
                        f"{quality.mos_score:.2f}",
                    )
                ),
            )
        return Group(table, *self._notes)


def _meter(level_dbfs: float, style: str) -> ProgressBar:
    loudness = max(0.0, 1.0 - level_dbfs / _QUIETEST_DBFS)
    return ProgressBar(
        total=1.0, completed=loudness, width=_METER_WIDTH, complete_style=style, finished_style=style
    )


def _line(caller: Caller) -> str:
    text = (
        f"says {caller.said.level_dbfs():4.0f} dB, hears {caller.heard.level_dbfs():4.0f} dB, "
        f"{caller.sent} packets sent"
    )
    quality = caller.quality()
    if quality is None:
        return text
    received, lost = quality.rtp_packets_received, quality.rtp_packets_lost
    return f"{text}, {received} received, {lost} lost, MOS {quality.mos_score:.2f}"


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """Show the verdict, one line for each check."""
    width = max(len(check.fact) for check in checks)
    console.print()
    for check in checks:
        mark = ("  ok    ", "bold green") if check.holds else ("  FAILED", "bold red")
        console.print(Text.assemble(mark, f" {check.fact:<{width}}  ", (check.figure, "dim")), soft_wrap=True)
    console.print()
