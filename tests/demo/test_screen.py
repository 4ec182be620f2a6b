from __future__ import annotations

from io import StringIO

import numpy as np
import trio
from rich.console import Console
from trio.testing import MockClock

from vb.demo.check import Check
from vb.demo.phone import Phone
from vb.demo.screen import Screen, show_checks


def console(*, is_terminal: bool) -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, force_terminal=is_terminal, width=100, color_system=None), out


async def test_without_a_terminal_a_note_is_one_plain_line(autojump_clock: MockClock) -> None:
    target, out = console(is_terminal=False)
    screen = Screen(target, [])
    await trio.sleep(1.5)
    screen.note("A", "is in the room [with brackets] and " + "a long text " * 10)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("  1.5 s  A       is in the room [with brackets]")


async def test_on_a_terminal_the_picture_holds_notes_and_phones(autojump_clock: MockClock) -> None:
    target, out = console(is_terminal=True)
    screen = Screen(target, [Phone("A", np.zeros(160, np.int16))])
    screen.note("room", "is being recorded")
    assert out.getvalue() == ""
    with trio.move_on_after(0.5):
        await screen.run()
    assert "is being recorded" in out.getvalue()
    assert "hears" in out.getvalue()


def test_verdict_marks_what_failed() -> None:
    target, out = console(is_terminal=False)
    show_checks(target, [Check("one fact", True, "1.00"), Check("another", False, "0.10")])
    good, bad = (line for line in out.getvalue().splitlines() if line.strip())
    assert good.split() == ["ok", "one", "fact", "1.00"]
    assert bad.split() == ["FAILED", "another", "0.10"]
