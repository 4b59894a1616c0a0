"""Prometheus rule files."""
