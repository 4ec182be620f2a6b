from __future__ import annotations

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from vb.api.frames import text_frames


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_text_of_any_length_becomes_the_frame_that_a_library_makes(length: int) -> None:
    text = "x" * length
    server = Connection(ConnectionType.SERVER)
    assert text_frames([text.encode()]) == server.send(TextMessage(data=text))


def test_many_texts_become_frames_back_to_back() -> None:
    texts = ["one", "zwölf", "", "y" * 200]
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frames(text.encode() for text in texts))
    assert [event.data for event in client.events() if isinstance(event, TextMessage)] == texts
