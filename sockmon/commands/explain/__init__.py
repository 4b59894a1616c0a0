"""`sockmon explain`."""
