"""The driver of WebTransport: its socket, its clock and its certificate."""

from vb.quic.tasks.listener import Listener, ListenerSettings, make_listener

__all__ = ["Listener", "ListenerSettings", "make_listener"]
