"""What runs the SIP cores: sockets, clock and tasks."""
