"""Observation -> metric families and JSON. Pure: given values and the time, renders them."""
