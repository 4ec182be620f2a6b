"""The task that writes the history, and the threads that read it."""

from vb.history.tasks.service import History, open_history

__all__ = ["History", "open_history"]
