"""The part of outgoing requests that resolves, connects and waits."""
