"""TCP segments, from a packet socket's ring or from capture files."""
