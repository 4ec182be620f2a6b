"""SIP legs: calls that come in and go out, and what one dialog means for its leg."""
