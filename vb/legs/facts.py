"""What a leg knows of itself that no event tells, for who keeps the history of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LegFacts:
    """What a leg knows of itself that no event tells.

    Attributes:
        leg_type: for example sip_inbound.
        headers: custom headers; those that the settings name become metadata.
        metadata: of the request that made the leg.
        client_version: User-Agent or Server of the far end.
        medium: the `medium` of the calls API, for legs that are not SIP.
        auto_delete: whether the call is deleted once it is over.
        sip_dialog: Call-ID and our tag, for legs that are SIP.
    """

    leg_id: str
    leg_type: str = ""
    from_: str | None = None
    to: str | None = None
    uri: str | None = None
    app_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    join_timeout_s: float | None = None
    max_duration_s: float | None = None
    client_version: str | None = None
    medium: Mapping[str, Any] | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    voice_id: str | None = None
    auto_delete: bool = False
    sip_dialog: tuple[str, str] | None = None
