"""The task that writes the history, and the threads that read it."""

from vb.history.tasks.service import History, StoredBytes, open_history

__all__ = ["History", "StoredBytes", "open_history"]
