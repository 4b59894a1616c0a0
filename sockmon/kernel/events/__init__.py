"""Connections that open, fail and close, counted inside the kernel by an eBPF program."""
