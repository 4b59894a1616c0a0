"""`sockmon drill`."""
