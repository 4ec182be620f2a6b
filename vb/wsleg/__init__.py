"""WebSocket legs: programs that speak and hear PCM over a WebSocket, as a leg or beside the legs of a room.

`wire` says what a message means, `audio_in` and `audio_out` are what the media plane asks and serves; none of
the three knows of sockets or clocks. `leg` is the leg, `inbound` and `outbound` how one comes to be, and
`listener` a participant of a room that is no leg.
"""
