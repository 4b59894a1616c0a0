"""`sockmon trace`."""
