from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.engine import Observed, open_engine


@pytest.fixture
async def observed() -> AsyncIterator[Observed]:
    """A whole engine that is used through commands."""
    async with open_engine() as engine:
        yield engine
