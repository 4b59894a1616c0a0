"""sockmon: a Linux host's TCP sockets, counted, aged and diagnosed from netlink sock_diag."""

__version__ = "0.1.0"
