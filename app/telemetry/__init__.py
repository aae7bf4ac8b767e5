"""The adapter to what ops look at: logs now, metrics and traces to come."""
