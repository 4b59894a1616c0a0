"""The privileged helper: enters namespaces for a daemon that has no privilege to.

They speak over an AF_UNIX SOCK_SEQPACKET socket: one request, one answer.
"""
