"""`sockmon count`."""
