"""Events: one class each; everything that a client is told comes from here."""
