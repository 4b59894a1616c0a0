"""tshark's reading of captures, compared with sockmon's.

`make oracle` makes captures of real connections and has both read them, and those that are kept
in tests/recorded/traces/. With ARGS=--record it keeps what tshark says;
tests/unit/trace/test_oracle.py compares that each time, without tshark, which is 100 MB to install.
"""
