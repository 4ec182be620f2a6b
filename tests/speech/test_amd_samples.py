"""The published figures of answering machine detection still hold, on greetings that espeak-ng speaks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.amd_samples import Tally, samples

PAGE = Path(__file__).parents[2] / "docs" / "amd.md"
ROW = re.compile(r"\| ([^|]+) \| (\d+) \|(?: *\d* *\|){4} (\d+) % \|")
BEEPS = re.compile(r"Beeps after a machine: (\d+) found, (\d+) missed, (\d+) false\.")


def published() -> tuple[dict[str, tuple[int, int]], tuple[int, int, int]]:
    """Return the number of samples and the right verdicts of every group, and the beeps of the page."""
    text = PAGE.read_text(encoding="utf-8")
    rows = {
        name: (int(number), round(int(number) * int(share) / 100))
        for name, number, share in ROW.findall(text)
    }
    beeps = BEEPS.search(text)
    assert beeps is not None
    found, missed, false = map(int, beeps.groups())
    return rows, (found, missed, false)


def test_the_page_has_a_row_for_every_group() -> None:
    rows, _ = published()
    easy = {name: row for name, row in rows.items() if not name.startswith(("hard", "all"))}
    assert len(rows) == 8
    assert rows["all but the hard ones"] == tuple(map(sum, zip(*easy.values(), strict=True)))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="not run: espeak-ng is not installed")
def test_spoken_greetings_are_judged_no_worse_than_published() -> None:
    rows, (found, missed, false) = published()
    tally = Tally()
    wrong = [line for line in map(tally.add, samples()) if line.startswith("!")]
    assert set(tally.verdicts) == set(rows) - {"all but the hard ones"}
    for group, counts in tally.verdicts.items():
        number, right = rows[group]
        assert counts["all"] == number, group
        assert counts["right"] >= right, "\n".join([group, *wrong])
    assert tally.beeps["found"] >= found
    assert tally.beeps["missed"] <= missed
    assert tally.beeps["false"] <= false
