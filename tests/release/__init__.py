"""Checks of a built release: `make check-release`, outside of `make test`."""
