"""The only rooms that ask the kernel anything."""
