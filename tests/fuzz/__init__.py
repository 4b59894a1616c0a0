"""`make fuzz`: damaged input for everything that parses bytes from outside, guided by coverage.

targets.py has what is fed, with what, and what may be raised. corpus/ holds inputs that are kept:
those that once failed, and those that reach code which others do not; a unit test feeds all of them
in each run of the tests.
"""
