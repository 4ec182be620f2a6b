"""What holds for all tests."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import settings

settings.register_profile("vb", deadline=None)  # an example takes as long as a busy machine lets it
settings.load_profile("vb")


@pytest.fixture(autouse=True)
def _logs_as_in_a_new_program() -> None:
    """Forget what a test before has made of logs: a server that is opened looks whether anybody has."""
    structlog.reset_defaults()
