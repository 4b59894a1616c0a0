"""The privileged helper: loads the counting program for a daemon that may not.

They communicate over an AF_UNIX SOCK_SEQPACKET socket: one request, one answer, four descriptors.
"""
