"""Attacks a running server from outside while calls are up, and says what they noticed of it.

`python -m fuzz` starts a server of this checkout, or takes one that runs (`--url`, `--sip`), and reaches it
by SIP, RTP, HTTP and WebSocket only. Bystanders - calls with tones, an event client, an OPTIONS prober - live
in this process; each attack runs in a process of its own with less claim to the CPU.
"""
