"""Traces of calls for a collector of OpenTelemetry: one for each call, a span for each turn of its agent."""
