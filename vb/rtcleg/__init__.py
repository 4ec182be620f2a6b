"""WebRTC as a kind of leg: browsers and programs that call by an offer over the API."""
