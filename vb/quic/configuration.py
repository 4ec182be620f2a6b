"""What all connections of a listener have in common, in aioquic's words."""

from __future__ import annotations

from typing import Final

from aioquic.quic.configuration import QuicConfiguration

from vb.quic.bounds import WINDOW_BYTES
from vb.quic.certificate import Identity
from vb.quic.invariants import CONNECTION_ID_BYTES

IDLE_TIMEOUT_S: Final = 20.0
"""From the last sign of life on, or from our first attempt to get one."""
MAX_STREAM_BYTES: Final = 256 * 1024
MAX_DATAGRAM_FRAME_BYTES: Final = 65536
"""WebTransport cannot be had without datagrams; longer ones than a packet never come."""


def server_configuration(identity: Identity) -> QuicConfiguration:
    """Return the configuration of connections that prove themselves by a certificate."""
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=IDLE_TIMEOUT_S,
        max_data=WINDOW_BYTES,
        max_stream_data=MAX_STREAM_BYTES,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME_BYTES,
    )
    configuration.certificate = identity.certificate
    configuration.certificate_chain = list(identity.chain)
    configuration.private_key = identity.key
    return configuration
