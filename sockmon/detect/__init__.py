"""One pure file per diagnosis, and the registry."""
