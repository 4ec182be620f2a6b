"""Black-box conformance suite: peers and expectations of its own, no import of the server."""
