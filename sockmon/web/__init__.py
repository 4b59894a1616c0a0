"""The daemon's HTTP side: what it answers (app) and how it stays up (server)."""
