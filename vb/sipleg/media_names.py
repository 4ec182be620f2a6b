"""Looking up the host names that far ends write in place of media addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from vb.log import StrangersLog
from vb.sdp.address import Network, host_names

strangers = StrangersLog(__name__)

PATIENCE_S: Final = 5.0
"""How long a description waits for all of its names."""
Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Finds the addresses of a host, or raises OSError."""


async def look_up_names(
    sdp: bytes, network: Network, lookup: Lookup, gone: Callable[[], Awaitable[None]]
) -> Network:
    """Return the network with what the host names of a description are now; mostly without waiting at all.

    Args:
        sdp: what the far end said.
        network: what is known so far.
        lookup: finds addresses.
        gone: returns when the call is over, so that nobody waits any more.
    """
    names = host_names(sdp)
    if not names:
        return network
    found: dict[str, str] = {}

    async def find(name: str) -> None:
        try:
            addresses = await lookup(name)
        except OSError as error:
            strangers.info("media address cannot be looked up", name=name, problem=str(error))
            return
        fitting = [address for address in addresses if (":" in address) == (network.version == 6)]
        if fitting:
            found[name] = fitting[0]

    async def give_up() -> None:
        await gone()
        nursery.cancel_scope.cancel()

    async def find_all() -> None:
        async with trio.open_nursery() as searches:
            for name in names:
                searches.start_soon(find, name)
        nursery.cancel_scope.cancel()

    with trio.move_on_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            nursery.start_soon(find_all)
    return replace(network, names={**network.names, **dict.fromkeys(names, ""), **found})
