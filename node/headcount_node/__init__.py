"""The composition root: configuration, servers and the demonstration; only it knows every role."""
