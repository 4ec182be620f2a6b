from __future__ import annotations

import pytest

from tests.support.sip_pair import RawPeer


@pytest.fixture
def peer() -> RawPeer:
    return RawPeer()
