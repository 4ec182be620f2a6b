"""What opening a leg's media leaves behind when it fails half-way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from vb.sipleg import open_media
from vb.sipleg.open_media import OpenMedia


def test_a_leg_whose_keys_fail_leaves_neither_port_nor_place(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint, port = Mock(send_errors=0), Mock()
    plane = SimpleNamespace(open_port=lambda _: port)
    sip: Any = SimpleNamespace(engine=SimpleNamespace(plane=plane))
    monkeypatch.setattr(OpenMedia, "_bind", lambda self: endpoint)
    monkeypatch.setattr(open_media, "new_keying", Mock(side_effect=ValueError))
    with pytest.raises(ValueError), OpenMedia(sip, "127.0.0.1", ()):
        pass
    port.close.assert_called_once_with()
    endpoint.close.assert_called_once_with()
