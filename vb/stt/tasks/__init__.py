"""The drivers of transcripts: sockets, reconnecting, and one task for each leg that is listened to."""
