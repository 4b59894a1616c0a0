"""Recordings of a kernel over some time: a report of a fault that anybody can replay."""
