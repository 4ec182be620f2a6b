"""WhatsApp as a kind of leg: SIP over TLS with digest, and the media of WebRTC."""
