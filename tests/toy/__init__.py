"""sockmon with one detector more: `python -m tests.toy RECORDING ARGUMENTS...`."""
