"""Who may read what over HTTP, and TLS."""
