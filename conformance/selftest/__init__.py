"""The suite's own tests: peer against peer."""
