"""From findings to people: the life cycle of alerts, the receivers told, Prometheus's own rules."""
