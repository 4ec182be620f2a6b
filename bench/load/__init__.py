"""The load generator: one process that calls, talks and listens; it never imports the server."""
