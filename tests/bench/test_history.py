from __future__ import annotations

import uuid
from pathlib import Path

from bench.history.__main__ import ask_all, size_bytes
from bench.history.calls import make_calls
from bench.history.load import load
from vb.history.edge import list_calls
from vb.history.store import Store


def test_made_calls_are_found_as_if_a_server_had_written_them(tmp_path: Path) -> None:
    calls = list(make_calls(400))
    found = []
    for name in ("loaded", "written"):
        url = f"sqlite:///{tmp_path}/{name}.db"
        store = Store(url, run_id=uuid.UUID(int=1))
        store.open()
        if name == "loaded":
            load(url, calls)
        else:
            store.write(calls)
        assert list_calls(store, []).total == 400
        store.close()
        found.append([(answer.name, answer.total) for answer in ask_all(url, 1)])
        assert size_bytes(url) > 0
    assert found[0] == found[1]
