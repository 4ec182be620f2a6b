"""MoQ Transport, draft 11: publishing and subscribing to tracks of objects over WebTransport.

`wire` holds the building blocks, `messages` and `control` the control stream, `objects` the data streams, and
`session` what both ends may say when. `publication` sends the objects of a track to one subscriber.

Spec: draft-ietf-moq-transport-11.
"""
