"""Names that stand for no single port, owner or namespace."""

#: The label under which all those are counted that are not shown one by one.
OTHER = "other"
#: The name of the daemon's own network namespace.
HOST = "host"
