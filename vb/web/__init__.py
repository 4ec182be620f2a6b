"""The server's one way out over HTTP and WebSocket, and the rules of where it may lead.

What a client or a caller names is judged once, by its addresses, and connected to at exactly an address that
was judged; what the operator has set is trusted. This package decides; `vb.web.tasks` connects and waits.
"""
