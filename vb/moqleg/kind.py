"""MoQ as a kind of leg: what its legs share, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio

from vb.engine import Engine
from vb.errors import NotAvailable
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading
from vb.moqleg.inbound import accept_session
from vb.moqleg.leg import LEG_TYPE
from vb.moqleg.request import PATH
from vb.quic.session import Receiver, Refusal, Request, Session
from vb.quic.tasks import Listener, ListenerSettings, make_listener
from vb.wsleg.losses import Counts
from vb.wsleg.socket import Outbox

PROTOCOLS: Final = ("moq-00",)
"""What browsers call MoQ Transport of any draft; its own handshake tells which."""
LOSSES: Final = (("in", "overflow"), ("in", "malformed"), ("in", "flood"), ("out", "slow_reader"))


class MoqLegs:
    """All MoQ legs of a server.

    Args:
        engine: the server.

    Attributes:
        guard: refuses requests that may not be made at all; None lets all pass.
        outbox: hands their frames over once a tick is over.
        losses: counts what was lost on all of them.
        listener: where they come in, while the kind runs and the settings have it.
    """

    name: Final = "moq"
    leg_types: Final[tuple[LegType, ...]] = (LEG_TYPE,)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.guard: Callable[[Request], Refusal | None] | None = None
        self.outbox = Outbox()
        self.losses: Counts = dict.fromkeys(LOSSES, 0)
        self.listener: Listener | None = None

    async def create(self, request: CreateLeg) -> Leg:
        """Refuse to call anybody: MoQ legs come in only.

        Raises:
            NotAvailable: always.
        """
        raise NotAvailable("not available: type")

    def accept(self, request: Request, transport: Session) -> Receiver | Refusal:
        """Decide about a session."""
        return accept_session(self, request, transport)

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve sessions until cancelled, where the settings have them.

        Raises:
            ConfigError: the extra or the certificate is missing.
            OSError: the address cannot be bound.
        """
        if not self.engine.config.moq.enabled:
            task_status.started(())
            await trio.sleep_forever()
        config = self.engine.config.moq
        settings = ListenerSettings(
            config.listen_addr,
            config.tls_cert_file,
            config.tls_key_file,
            PATH,
            PROTOCOLS,
            self.engine.instance_id,
        )
        count_fault = partial(self.engine.metrics.recovered, "quic")
        self.listener = await make_listener(settings, self.accept, count_fault)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbox.run)
            await nursery.start(self.listener.run)
            host, port = self.listener.address
            task_status.started((f"[{host}]:{port}" if ":" in host else f"{host}:{port}",))

    def readings(self) -> Iterator[Reading]:
        """Give the figures of MoQ for the metrics."""
        text = "Objects and frames that MoQ legs lost, by direction and reason"
        for (direction, reason), count in self.losses.items():
            yield "moq_lost", text, count, {"direction": direction, "reason": reason}
        if self.listener is not None:
            yield from self.listener.readings()
