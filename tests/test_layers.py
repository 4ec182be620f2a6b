from __future__ import annotations

import trio

from vb.layers import open_layer


async def test_a_layer_outlives_a_cancelled_block_further_in() -> None:
    order: list[str] = []

    async def transport() -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append("transport")

    async def leg() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            order.append("leg")

    with trio.CancelScope() as everything:
        async with open_layer() as transports, trio.open_nursery() as legs:
            transports.start_soon(transport, name="transport")
            legs.start_soon(leg)
            await trio.testing.wait_all_tasks_blocked()
            everything.cancel()
    assert order == ["leg", "transport"]


async def test_leaving_a_layer_ends_its_tasks() -> None:
    ended = trio.Event()

    async def task(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("ready")
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with open_layer() as layer:
        assert await layer.start(task, name="task") == "ready"
    assert ended.is_set()
