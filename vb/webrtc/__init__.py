"""WebRTC without I/O: STUN, ICE, TURN, DTLS-SRTP, and the descriptions that browsers exchange.

Every object takes bytes and `now`, and gives datagrams, events and a deadline; `session.Session` ties them.
"""
