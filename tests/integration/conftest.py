from __future__ import annotations

from pathlib import Path

import pytest

from vb.config import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a server on free loopback ports."""
    return Config.from_env(
        {
            "HTTP_ADDR": "127.0.0.1:0",
            "SIP_PORT": "0",
            "RTP_PORT_MIN": "0",
            "RTP_PORT_MAX": "0",
            "RECORDING_DIR": str(tmp_path / "recordings"),
            "VB_FETCH_ALLOW": "127.0.0.0/8",
        }
    )
