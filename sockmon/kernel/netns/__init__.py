"""Network namespaces: found, named, entered."""
