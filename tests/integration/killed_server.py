"""A server that records a call and is killed in the middle: `python killed_server.py DIRECTORY`."""

from __future__ import annotations

import os
import signal
import sys

import trio

from tests.support.phone import open_phone
from tests.support.world import call_in
from vb.config import Config
from vb.server import open_server


async def main(directory: str) -> None:
    config = Config.from_env(
        {
            "SIP_PORT": "0",
            "RTP_PORT_MIN": "0",
            "RTP_PORT_MAX": "0",
            "RECORDING_DIR": directory,
        }
    )
    async with open_server(config, http=False) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events, "r")
            await server.call("leg_record_start", id=leg)
            await server.call("room_record_start", id="r")
            await phone.hear(80)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
