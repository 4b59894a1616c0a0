"""`sockmon trace`: segments -> connections -> verdicts -> words. Pure, but for live.py."""
