"""sock_diag over netlink: requests, replies, dumps."""
