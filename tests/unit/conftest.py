"""How much hypothesis tries, with no deadline on a busy machine.

Each run tries a little; `make unit-thorough`, once a week, tries fifty times as much.
"""

import os

from hypothesis import HealthCheck, settings

from sockmon.contained import COMPONENTS

settings.register_profile(
    "sockmon",
    max_examples=int(os.environ.get("EXAMPLES", "25")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("sockmon")


def pytest_runtest_setup() -> None:
    """Forget what failed in the tests before: it is logged when it begins to fail."""
    COMPONENTS.forget()
