"""`sockmon top`: a live view in the terminal.

Sightings come from the kernel or from a daemon (source), become a Scene, and together with a
ViewState, which keys change, become lines. Only `app` and `plain` know the terminal.
"""
