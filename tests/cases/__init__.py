"""What sockmon says of real programs in trouble, or only busy: `make cases`.

Each case is a function that makes a situation in a world of its own (tests/world.py), where the
daemon watches with its defaults, and what is to be said about it. Cases run at the same time, since
most of their time they wait. Programs are Debian's, in a root of their own (tests/cases/install).
"""
