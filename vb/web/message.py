"""What a WebSocket carries and why it is closed, whichever side it is and whoever runs it."""

from __future__ import annotations

from typing import Final, TypeAlias

Message: TypeAlias = bytes | str
"""A message: bytes are a binary one, text is a text one."""

# Close codes.  Spec: RFC 6455 section 7.4.1, and 1013 as IANA has it.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
"""Stands for the code of a close frame that holds none."""
ABNORMAL: Final = 1006
"""Stands for the code of a peer that gave none, because the connection broke."""
NOT_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_LARGE: Final = 1009
FAILED: Final = 1011
TRY_AGAIN: Final = 1013
