"""A phone with real-time text as a program: liblinphone, driven through its C interface.

It calls, or waits for a call when no target is named; then it types one text, reads until another one has
come, hangs up and prints what came as one JSON line. While it waits, a line with its port comes first. The
library may end the process it lives in, so `interop.rtt` starts a subprocess.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable

CALL_S = 20.0
LAST_TEXT_S = 2.0
STEP_S = 0.02
CHARACTER_S = 0.05
RUNNING, ENDED = 8, (13, 14, 19)
SETTINGS = b"""
[sip]
guess_hostname=0
contact=sip:text@127.0.0.1
[sound]
playback_dev_id=none
capture_dev_id=none
ringer_dev_id=none
[lime]
enabled=0
"""


class TextPhone:
    """One call of liblinphone with real-time text.

    Args:
        library: path of liblinphone.
        folder: for its files.
        resources: where its data lie when it was installed elsewhere than it thinks.
    """

    def __init__(self, library: str, folder: str, resources: str | None) -> None:
        self._lib = ctypes.CDLL(library)
        self._pause = threading.Event()
        self._factory = self._object("linphone_factory_get")
        for name in ("config", "data"):  # it puts a file's name right behind the folder's
            self._object(f"linphone_factory_set_{name}_dir", self._factory, f"{folder}/".encode())
        if resources is not None:
            self._object("linphone_factory_set_top_resources_dir", self._factory, resources.encode())
        config = self._object("linphone_config_new_from_buffer", SETTINGS)
        self._core = self._object("linphone_factory_create_core_with_config_3", self._factory, config, None)
        self._object("linphone_core_enable_ipv6", self._core, 0)
        self._object("linphone_core_set_use_files", self._core, 1)
        self._bind()
        self._object("linphone_core_start", self._core)
        self._current = ctypes.c_void_p()

    def _object(self, name: str, *arguments: object) -> ctypes.c_void_p:
        function = getattr(self._lib, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    def _number(self, name: str, *arguments: object) -> int:
        function = getattr(self._lib, name)
        function.restype = ctypes.c_int
        return int(function(*arguments))

    def _bind(self) -> None:
        """Use free ports, and UDP only."""
        transports = self._object("linphone_factory_create_transports", self._factory)
        for kind, port in (("udp", -1), ("tcp", 0), ("tls", 0), ("dtls", 0)):
            self._object(f"linphone_transports_set_{kind}_port", transports, port)
        self._object("linphone_core_set_transports", self._core, transports)
        for kind in ("audio", "video", "text"):
            self._object(f"linphone_core_set_{kind}_port", self._core, -1)

    @property
    def port(self) -> int:
        """The UDP port at which it can be called."""
        used = self._object("linphone_core_get_transports_used", self._core)
        return self._number("linphone_transports_get_udp_port", used)

    @property
    def state(self) -> int:
        """State of the call, by the library's numbers."""
        return self._number("linphone_call_get_state", self._current)

    def _with_text(self) -> ctypes.c_void_p:
        params = self._object("linphone_core_create_call_params", self._core, self._current)
        self._object("linphone_call_params_enable_realtime_text", params, 1)
        self._object("linphone_call_params_enable_video", params, 0)
        return params

    def dial(self, uri: str) -> None:
        """Call with text."""
        params = self._with_text()
        self._current = self._object("linphone_core_invite_with_params", self._core, uri.encode(), params)

    def wait(self) -> None:
        """Wait for a call and answer it with text."""

        def called() -> bool:
            self._current = self._object("linphone_core_get_current_call", self._core)
            return bool(self._current)

        if self.run(CALL_S, called):
            self._object("linphone_call_accept_with_params", self._current, self._with_text())

    def connect(self) -> bool:
        """Run until the call is up; False when it never is."""
        up = bool(self._current) and self.run(CALL_S, lambda: self.state == RUNNING or self.state in ENDED)
        return up and self.state == RUNNING

    def run(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Run the phone until something has happened; False when it did not in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._object("linphone_core_iterate", self._core)
            if done():
                return True
            self._pause.wait(STEP_S)
        return False

    def type(self, text: str) -> None:
        """Type a text, character by character."""
        room = self._object("linphone_call_get_chat_room", self._current)
        message = self._object("linphone_chat_room_create_empty_message", room)
        for character in text:
            self._object("linphone_chat_message_put_char", message, ctypes.c_uint32(ord(character)))
            self.run(CHARACTER_S, lambda: False)

    def read(self, text: str) -> str:
        """Read until this text has come, or for as long as a call lasts; returns what has come."""
        room = self._object("linphone_call_get_chat_room", self._current)
        heard: list[str] = []

        def complete() -> bool:
            while code := self._number("linphone_chat_room_get_char", room):
                heard.append(chr(code))
            return "".join(heard) == text

        self.run(CALL_S, complete)
        self.run(LAST_TEXT_S, lambda: not complete())
        return "".join(heard)

    def hang_up(self) -> None:
        """End the call."""
        self._object("linphone_core_terminate_all_calls", self._core)
        self.run(LAST_TEXT_S, lambda: self.state in ENDED)


def talk(phone: TextPhone, to: str | None, say: str, hear: str, delay_s: float) -> dict[str, object]:
    """Call or be called, type after a delay, read, hang up; returns what happened."""
    if to is None:
        print(json.dumps({"port": phone.port}), flush=True)
        phone.wait()
    else:
        phone.dial(to)
    if not phone.connect():
        return {"error": "there was no call, or it ended at once"}
    phone.run(delay_s, lambda: False)
    phone.type(say)
    heard = phone.read(hear)
    phone.hang_up()
    return {"heard": heard}


def main() -> int:
    """Make or take one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", help="whom to call; without it, wait for a call")
    parser.add_argument("--say", required=True)
    parser.add_argument("--hear", required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds from the answer to the typing")
    parser.add_argument("--library", default=ctypes.util.find_library("linphone"))
    parser.add_argument("--resources", help="where the library's data lie, unless where it was built for")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interop-text-") as folder:
        phone = TextPhone(given.library, folder, given.resources)
        described = talk(phone, given.to, given.say, given.hear, given.delay)
    print(json.dumps(described), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
