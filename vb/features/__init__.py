"""What may be attached to a leg or a room: playbacks and recordings."""
