"""What the server refuses, and from which point on: too many, too often, too far."""
