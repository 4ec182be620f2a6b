"""One module per family of features; every function marked as a scenario is one flow."""
