"""How commands ask a running daemon."""
