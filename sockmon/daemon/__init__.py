"""The process that runs on a server: its loop, signals and service manager."""
