from __future__ import annotations

import pytest

from vb.config import SipConfig
from vb.sipleg.auto_transfer import GUARD_S
from vb.sipleg.kind import sip_settings


@pytest.mark.parametrize(
    ("auto_dial", "consult_ms", "decision_s"),
    [
        (False, 2000, 2.0),
        (False, 12_000, 12.0),
        (False, 0, GUARD_S),
        (True, 0, GUARD_S),
        (True, 2000, GUARD_S),
        (True, 12_000, 12.0),
    ],
)
def test_the_time_to_think_limits_only_applications(
    auto_dial: bool, consult_ms: int, decision_s: float
) -> None:
    config = SipConfig(refer_auto_dial=auto_dial, refer_consult_timeout_ms=consult_ms)
    assert sip_settings(config).agent.refer_consult_s == decision_s
