"""Raw logs to typed events: a mapping is data, not code."""
