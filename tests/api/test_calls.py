"""Recordings of calls as bytes."""

from __future__ import annotations

import pytest

from tests.api.harness import SmallEngine, ask
from vb.api.app import Application, create_app
from vb.api.calls import read_range


@pytest.fixture
def app(engine: SmallEngine) -> Application:
    return create_app(engine)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", (0, 100)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("Bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=99-99", (99, 100)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=20-10", (0, 100)),
        ("bytes=-", (0, 100)),
        ("bytes=1-2,5-6", (0, 100)),
        ("lines=1-2", (0, 100)),
        ("bytes=\u0661-", (0, 100)),
        (f"bytes={'9' * 40}-", (0, 100)),
    ],
)
def test_a_part_is_what_was_asked_for_or_all_of_it(text: str, part: tuple[int, int] | None) -> None:
    assert read_range(text, 100) == part


async def test_a_recording_of_a_server_without_a_history_is_not_available(app: Application) -> None:
    assert (await ask(app, "GET", "/api/calls/x/recording")).status == 501
