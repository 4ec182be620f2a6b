"""A phone with real-time text for the interop runs: liblinphone, driven through its C interface.

`python -m interop.text_phone --to URI --say TEXT --hear TEXT` calls, types one text, waits for another, hangs up
and prints what came as one line of JSON. It runs in a process of its own, for a library of another project may
take that down.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Final

CALL_S: Final = 20.0
_STEP_S: Final = 0.02
_CHARACTER_S: Final = 0.05
_LAST_TEXT_S: Final = 2.0
"""What was typed last goes out within this time."""
_SETTINGS: Final = b"""
[sip]
guess_hostname=0
contact=sip:text@127.0.0.1
bind_address=127.0.0.1
media_encryption=none
[net]
firewall_policy=0
[sound]
playback_dev_id=none
capture_dev_id=none
ringer_dev_id=none
[video]
enabled=0
[lime]
enabled=0
"""
_STATE_ENDED: Final = (13, 14, 19)
_STATE_RUNNING: Final = 8


class TextPhone:
    """One call of liblinphone with real-time text."""

    def __init__(self, library: str, folder: str, resources: str | None = None) -> None:
        self._lib = ctypes.CDLL(library)
        factory = self._call("linphone_factory_get")
        config = self._call("linphone_config_new_from_buffer", _SETTINGS)
        for setter in ("config", "data"):
            self._call(f"linphone_factory_set_{setter}_dir", factory, folder.encode())
        if resources is not None:
            self._call("linphone_factory_set_top_resources_dir", factory, resources.encode())
        self._core = self._call(
            "linphone_factory_create_core_with_config_3", factory, config, ctypes.c_void_p()
        )
        self._call("linphone_core_enable_ipv6", self._core, 0)
        self._call("linphone_core_set_use_files", self._core, 1)
        self._ports()
        self._call("linphone_core_start", self._core)
        self._call_object = ctypes.c_void_p()

    def _call(self, name: str, *arguments: object) -> ctypes.c_void_p:
        function = getattr(self._lib, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    def _number(self, name: str, *arguments: object) -> int:
        function = getattr(self._lib, name)
        function.restype = ctypes.c_uint32
        return int(function(*arguments))

    def _ports(self) -> None:
        transports = self._call("linphone_factory_create_transports", self._call("linphone_factory_get"))
        for kind, port in (("udp", -1), ("tcp", 0), ("tls", 0), ("dtls", 0)):
            self._call(f"linphone_transports_set_{kind}_port", transports, port)
        self._call("linphone_core_set_transports", self._core, transports)
        for kind in ("audio", "video", "text"):
            self._call(f"linphone_core_set_{kind}_port", self._core, -1)

    def dial(self, uri: str) -> None:
        """Call with text."""
        params = self._call("linphone_core_create_call_params", self._core, ctypes.c_void_p())
        self._call("linphone_call_params_enable_realtime_text", params, 1)
        self._call("linphone_call_params_enable_video", params, 0)
        self._call_object = self._call("linphone_core_invite_with_params", self._core, uri.encode(), params)
        if not self._call_object:
            raise RuntimeError("the call could not be made")

    def state(self) -> int:
        """State of the call, by the library's numbers."""
        return self._number("linphone_call_get_state", self._call_object)

    def run(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Run the phone until something has happened; False when it did not in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._call("linphone_core_iterate", self._core)
            if done():
                return True
            time.sleep(_STEP_S)  # noqa: TID251 - a process of its own, without a loop
        return False

    def type(self, text: str) -> None:
        """Type a text, character by character."""
        room = self._call("linphone_call_get_chat_room", self._call_object)
        message = self._call("linphone_chat_room_create_empty_message", room)
        for character in text:
            self._call("linphone_chat_message_put_char", message, ctypes.c_uint32(ord(character)))
            self.run(_CHARACTER_S, lambda: False)

    def read(self) -> str:
        """Return the characters that have come since the last call."""
        room = self._call("linphone_call_get_chat_room", self._call_object)
        found = ""
        while code := self._number("linphone_chat_room_get_char", room):
            found += chr(code)
        return found

    def hang_up(self) -> None:
        """End the call."""
        self._call("linphone_core_terminate_all_calls", self._core)
        self.run(3, lambda: self.state() in _STATE_ENDED)


def talk(phone: TextPhone, to: str, say: str, hear: str) -> dict[str, object]:
    """Call, type, and read until the other text has come; returns what happened."""
    phone.dial(to)
    running = phone.run(CALL_S, lambda: phone.state() == _STATE_RUNNING or phone.state() in _STATE_ENDED)
    if not running or phone.state() != _STATE_RUNNING:
        return {"error": f"the call ended in state {phone.state()}"}
    phone.type(say)
    heard: list[str] = []

    def complete() -> bool:
        heard.append(phone.read())
        return "".join(heard) == hear

    phone.run(CALL_S, complete)
    phone.run(_LAST_TEXT_S, lambda: False)
    phone.hang_up()
    return {"heard": "".join(heard)}


def main() -> int:
    """Make one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--to", "--say", "--hear"):
        parser.add_argument(name, required=True)
    parser.add_argument("--library", default=ctypes.util.find_library("linphone"))
    parser.add_argument("--resources", help="where its data lie, if not with the library")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interop-text-") as folder:
        described = talk(TextPhone(given.library, folder, given.resources), given.to, given.say, given.hear)
    print(json.dumps(described), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
