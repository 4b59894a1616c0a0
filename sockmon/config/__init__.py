"""YAML files to frozen values, with every mistake reported at once."""
