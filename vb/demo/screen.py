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

from vb.demo.check import Check
from vb.demo.phone import Phone

PICTURE_INTERVAL_S: Final = 0.1
LINE_INTERVAL_S: Final = 1.0
_NOTES: Final = 16
_QUIETEST_DBFS: Final = -60.0
_METER_WIDTH: Final = 16


class Screen:
    """Shows phones and notes while the calls run.

    Args:
        console: where to.
        phones: whose levels and packets are shown.
    """

    def __init__(self, console: Console, phones: Sequence[Phone]) -> None:
        self._console = console
        self._phones = phones
        self._notes: deque[Text] = deque(maxlen=_NOTES)
        self._begun = trio.current_time()

    def note(self, who: str, what: str) -> None:
        """Tell that something happened."""
        line = Text.assemble(
            (f"{trio.current_time() - self._begun:5.1f} s  ", "dim"), (f"{who:<7}", "bold"), what
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
            for phone in self._phones:
                if phone.quality() is not None:
                    self.note(phone.name, _line(phone))

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
        table = Table("phone", "says", "hears", "sent", "received", "lost", "jitter", "MOS")
        for column in table.columns[3:]:
            column.justify = "right"
        for phone in self._phones:
            quality = phone.quality()
            table.add_row(
                phone.name,
                _meter(phone.said.level_dbfs(), "cyan"),
                _meter(phone.heard.level_dbfs(), "green"),
                str(phone.sent),
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


def _line(phone: Phone) -> str:
    quality = phone.quality()
    assert quality is not None
    return (
        f"says {phone.said.level_dbfs():4.0f} dB, hears {phone.heard.level_dbfs():4.0f} dB, "
        f"{phone.sent} packets sent, {quality.rtp_packets_received} received, "
        f"{quality.rtp_packets_lost} lost, MOS {quality.mos_score:.2f}"
    )


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """Show the verdict, one line for each check."""
    width = max(len(check.fact) for check in checks)
    console.print()
    for check in checks:
        mark = ("  ok    ", "bold green") if check.holds else ("  FAILED", "bold red")
        console.print(Text.assemble(mark, f" {check.fact:<{width}}  ", (check.figure, "dim")), soft_wrap=True)
    console.print()
