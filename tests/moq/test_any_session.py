"""Sessions with peers that say anything that can be said, in any order: they go on, or end with a code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.moq.peers import MIC, MIX, Heard, Talk
from tests.moq.strategies import messages
from vb.moq.codes import SessionCode
from vb.moq.messages import Announce, Message, Subscribe, SubscribeAnnounces, TrackStatusRequest
from vb.moq.objects import Object, SubgroupHead
from vb.quic.varint import varint

small = st.integers(0, 6)
tracks = st.sampled_from([MIX, MIC, ((b"mix",), b"text")])


def _numbered(message: Any, number: int) -> Any:
    """Return a message about a request that there may be."""
    return replace(message, request_id=number) if hasattr(message, "request_id") else message


likely = st.one_of(
    st.builds(lambda number, alias, track: Subscribe(number, alias, *track), small, small, tracks),
    st.builds(lambda number, track: TrackStatusRequest(number, *track), small, tracks),
    st.builds(Announce, small, st.sampled_from([(b"mic",), (b"mix",)])),
    st.builds(SubscribeAnnounces, small, st.sampled_from([(b"mix",), (b"m",)])),
    messages,
    st.builds(_numbered, messages, small),
)
streams = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda alias, group, number, payload: (
            SubgroupHead(alias, group).encode() + Object(number, payload).encode()
        ),
        small,
        small,
        small,
        st.binary(min_size=1, max_size=10),
    ),
    st.builds(lambda kind, rest: varint(kind) + rest, st.integers(0, 16), st.binary(max_size=20)),
)


steps = st.one_of(
    st.tuples(st.just("say"), likely),
    st.tuples(st.just("stream"), streams),
    st.tuples(st.just("reset"), small),
    st.tuples(st.just("stop"), small),
    st.tuples(st.just("send"), small),
)


@given(st.lists(steps, max_size=12), st.booleans())
def test_whatever_a_client_says_the_session_goes_on_or_ends_with_a_code(
    said: list[tuple[str, Any]], fin: bool
) -> None:
    talk = Talk()
    talk.server.announce((b"mix",))
    talk.server.subscribe(MIC, Heard())
    talk.pair.deliver()
    for what, value in said:
        if what == "say":
            talk.server.data(0, value.encode(), fin=False)
        elif what == "stream":
            talk.server.data(talk.pair.client.open_stream(bidirectional=False), value, fin=fin)
        elif what == "reset":
            talk.server.stream_reset(4 * value + 2, 0)
        elif what == "stop":
            talk.server.stopped(4 * value + 3, 0)
        else:
            for publication in talk.host.publications:
                publication.send(b"x")
    for code, _ in talk.server_end.closes:
        assert code in list(SessionCode)
    talk.server.finish("over")
    talk.server.close("over")
    assert talk.host.end == talk.server_end.closes[0]


@given(st.lists(likely, max_size=8))
def test_whatever_a_server_says_the_session_goes_on_or_ends_with_a_code(said: list[Message]) -> None:
    talk = Talk()
    talk.client.announce((b"mic",))
    talk.client.subscribe(MIX, Heard())
    talk.pair.deliver()
    for message in said:
        talk.client.data(0, message.encode(), fin=False)
    for code, _ in talk.pair.client.closes:
        assert code in list(SessionCode)
