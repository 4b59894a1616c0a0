"""Alerts: their life cycle, and the receivers that are notified."""
