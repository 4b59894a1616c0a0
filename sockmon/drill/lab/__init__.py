"""Real sockets in conditions that are faults, or only look like faults; the tests use them too."""
