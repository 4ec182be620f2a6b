"""Requests for MoQ legs: what their query says."""

from __future__ import annotations

from typing import Final

from vb.errors import InvalidField
from vb.wsleg.request import AskedLeg, read_asked_leg, read_query

PATH: Final = "/v1/legs/moq"
RATE_HZ: Final = 48000
"""The one rate that there is: objects are Opus, which is always told to be of 48 kHz."""


def read_moq_request(query: str) -> AskedLeg:
    """Read the query of a request for a MoQ leg.

    Raises:
        InvalidField: a value cannot be used.
    """
    values = read_query(query.encode("latin-1", "replace"))
    if values.get("sample_rate") not in (None, "", str(RATE_HZ)):
        raise InvalidField("sample_rate", f"must be {RATE_HZ}")
    return read_asked_leg(values)
