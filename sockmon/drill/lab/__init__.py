"""Real sockets in trouble, or only looking like it; shared with the tests."""
