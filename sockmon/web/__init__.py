"""The daemon's HTTP server: what it answers (app), and its limits (server)."""
