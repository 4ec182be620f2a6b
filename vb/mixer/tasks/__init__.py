"""Drivers of the media plane: its clock, its sockets and the rooms' tasks."""

from vb.mixer.tasks.clock import run_plane
from vb.mixer.tasks.rooms import run_room
from vb.mixer.tasks.sockets import SocketIo

__all__ = ["SocketIo", "run_plane", "run_room"]
