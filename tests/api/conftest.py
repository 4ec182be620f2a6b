from __future__ import annotations

import pytest

from tests.api.harness import SmallEngine, use_small_registry


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SmallEngine:
    use_small_registry(monkeypatch)
    return SmallEngine()
