"""WebTransport over HTTP/3: sessions of streams that programs and browsers open to us (RFC 9000, 9114)."""
