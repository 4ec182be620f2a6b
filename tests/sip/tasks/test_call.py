"""A call in the hands of its owner, without sockets."""

from __future__ import annotations

import trio

from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.sip.call_events import Closed, OfferAnswered, OfferRequested
from vb.sip.inbound import InboundCall
from vb.sip.tasks.call import SipCall


class Owned:
    """A connected call of a peer, and its handle; what the agent sends is counted."""

    def __init__(self) -> None:
        self.peer = RawPeer()
        self.call: InboundCall = self.peer.connected()
        self.handle = SipCall(self.call, self.peer.agent.settings, self.flush)
        self.invites = 0

    def flush(self) -> None:
        for _, event in self.peer.agent.events():
            self.handle.put(event)
        self.invites += sum(item.data.startswith(b"INVITE") for item in self.peer.agent.outgoing())

    def receive(self, method: str, body: bytes = b"") -> None:
        request = self.peer.request(method, to_tag=self.call.local_tag, cseq=2, body=body)
        self.peer.agent.receive(request, self.peer.source, trio.current_time())
        self.flush()

    async def ask_for_an_offer(self) -> None:
        """Let the peer ask for our offer, and give it."""
        self.receive("INVITE")
        assert await self.handle.next_event() == OfferRequested()
        self.handle.answer_offer(OFFER)


async def test_an_offer_goes_out_at_once_when_everything_was_read() -> None:
    owned = Owned()
    owned.handle.reoffer(OFFER)
    assert owned.invites == 1


async def test_an_offer_that_waited_goes_out_when_the_owner_asks_for_what_comes_next(
    autojump_clock: trio.abc.Clock,
) -> None:
    owned = Owned()
    await owned.ask_for_an_offer()
    owned.handle.reoffer(OFFER)
    owned.receive("ACK", ANSWER)
    assert await owned.handle.next_event() == OfferAnswered(ANSWER)
    assert owned.invites == 0
    with trio.move_on_after(0.1):
        await owned.handle.next_event()
    assert owned.invites == 1


async def test_an_offer_does_not_overtake_an_answer_that_has_not_been_read(
    autojump_clock: trio.abc.Clock,
) -> None:
    owned = Owned()
    await owned.ask_for_an_offer()
    owned.receive("ACK", ANSWER)
    owned.handle.reoffer(OFFER)
    assert owned.invites == 0
    assert await owned.handle.next_event() == OfferAnswered(ANSWER)
    with trio.move_on_after(0.1):
        await owned.handle.next_event()
    assert owned.invites == 1


async def test_a_call_whose_owner_has_ended_it_takes_any_number_of_events_and_keeps_none() -> None:
    owned = Owned()
    owned.handle.ignore_events()
    assert all(owned.handle.put(OfferRequested()) for _ in range(200))
    owned.handle.finish()
    assert isinstance(await owned.handle.next_event(), Closed)
