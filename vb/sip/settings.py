"""What an agent must know about its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Addresses, names and limits of one agent.

    Attributes:
        host4, host6: addresses advertised in Via and Contact; host6 is None without IPv6.
        port: SIP port of both families and of UDP and TCP.
        tls_port: port of TLS.
        tcp_enabled: long requests may go over TCP where nobody asked for UDP.
        domain: host part of From and P-Asserted-Identity; None = the advertised address.
        product: text of User-Agent and Server, user of the default From.
        use_source_socket: answer to the packet's source and send in-dialog requests to the source of
            the peer's last message, whatever Via and Contact say.
        accept_info: take INFO inside dialogs instead of refusing it, and send digits that way.
        refer_consult_s: how long a REFER of a peer waits for a decision.
        session_expires_s: session interval that our INVITEs ask for; 0 = do not ask.
    """

    host4: str = "127.0.0.1"
    host6: str | None = None
    port: int = 5060
    tls_port: int = 5061
    tcp_enabled: bool = False
    domain: str | None = None
    product: str = "voiceblender"
    use_source_socket: bool = False
    accept_info: bool = False
    session_expires_s: int = 1800
    refer_consult_s: float = 2.0
    max_calls: int = 5000
    max_transactions: int = 50000

    def port_of(self, transport: str) -> int:
        """Return our port of a transport."""
        return self.tls_port if transport == "tls" else self.port

    def host(self, family: Literal[4, 6]) -> str:
        """Return the advertised address of a family."""
        return self.host6 or self.host4 if family == 6 else self.host4
