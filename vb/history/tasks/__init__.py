"""The task that writes the history, and the threads that read it."""

from vb.history.tasks.service import History, HistorySettings, history_settings, open_history

__all__ = ["History", "HistorySettings", "history_settings", "open_history"]
