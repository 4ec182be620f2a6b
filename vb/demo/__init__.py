"""The demonstration: two phones, a browser and a program call a server, meet in a room, and what
each of them heard is checked.

run.py        starts everything in order and gives the verdict
agent         another one: a caller talks with an agent of the server's own
ear           has what a caller heard written down
application   drives the calls over REST and VSI, as any program of yours would
phone         a softphone: SIP, and RTP in PCMU
browser       a call as a browser makes it: an offer, ICE, DTLS, Opus in SRTP
program       a call over a WebSocket
caller        what all of them have in common
track         audio on the callers' side: what they say, and what they hear
check         proves by correlation who heard whom
screen        what is shown meanwhile
problem       failures that end the demonstration with one line
"""
