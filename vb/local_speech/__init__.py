"""Speech without a key or a network: engines in one helper process that all calls share."""
