"""The demonstration: two phones call a server, meet in a room, and what each of them heard is checked.

run.py        starts everything in order and gives the verdict
application   drives the calls over REST and VSI, as any program of yours would
phone         a softphone: SIP, and RTP in PCMU
track         audio on the phone's side of RTP: what it says, and what it hears
check         proves by correlation who heard whom
screen        what is shown meanwhile
problem       failures that end the demonstration with one line
"""
