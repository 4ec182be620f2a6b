"""The part of the storage that connects, waits and reads files."""
