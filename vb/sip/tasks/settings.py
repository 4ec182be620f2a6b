"""What an endpoint is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.sip.settings import AgentSettings
from vb.sip.tasks.tls import Tls


@dataclass(frozen=True, slots=True)
class SipSettings:
    """Settings of an endpoint; names and meanings are those of the environment variables SIP_*.

    Attributes:
        tls: certificates; None = no TLS, in neither direction.
        outbound_proxy: SIP URI of the next hop of every call that names none; "" = the target itself.
        agent: what its agent must know besides the addresses and ports, which are those that are bound.
    """

    bind_ip: str = "127.0.0.1"
    listen_ip: str = ""
    port: int = 5060
    bind_ipv6: str = ""
    listen_ipv6: str = ""
    external_ip: str = ""
    tls: Tls | None = None
    tls_port: int = 5061
    outbound_proxy: str = ""
    debug: bool = False
    agent: AgentSettings = field(default_factory=AgentSettings)
