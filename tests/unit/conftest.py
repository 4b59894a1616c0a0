"""How much hypothesis tries: enough to find mistakes, and no deadline on a busy machine."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "sockmon",
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("sockmon")
