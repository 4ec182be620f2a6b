"""Option tags: the extensions that we implement and those that a peer names.  Spec: RFC 3261 §19.2."""

from __future__ import annotations

from vb.sip.message import Message

SUPPORTED_OPTIONS = frozenset({"100rel", "norefersub", "replaces", "timer"})
SUPPORTED = ", ".join(sorted(SUPPORTED_OPTIONS))


def names_option(message: Message, header: str, option: str) -> bool:
    """Tell whether a Supported or Require header of a message lists an option tag."""
    if header.lower() not in message.headers.first:
        return False
    if option not in ", ".join(message.headers.get_all(header)).lower():
        return False
    return any(item.lower() == option for item in message.headers.get_list(header))
