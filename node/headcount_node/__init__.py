"""The composition root: configuration, servers and the demonstration; the only place that knows every role."""
