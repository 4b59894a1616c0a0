"""What sockmon sends as JSON: /api/v1/*, the page's events, `doctor` and `trace --format json`.

docs/api/*.schema.json and the page's types are generated from these declarations
(docs/api/generate.py). Times are Unix seconds by the host's wall clock. None: not known, or there
is none. No message has a key that is not declared here.
"""
