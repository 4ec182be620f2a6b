"""Small peers that talk to the server over the wire: SIP, RTP, HTTP, VSI, webhooks and media files."""
