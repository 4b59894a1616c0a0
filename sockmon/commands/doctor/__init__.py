"""`sockmon doctor`."""
