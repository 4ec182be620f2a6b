"""The HTTP edge: REST, VSI, webhooks, metrics and the documents, all views of commands and events."""
