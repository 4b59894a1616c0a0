"""What the daemon's log says of failures."""

from dataclasses import replace

import pytest

from sockmon.daemon.troubles import Troubles
from sockmon.model.poll_statistics import Failure
from tests.unit.polls import at, poll, saw

OPTIONAL = Failure("host", "ENOENT", "UDP: not here", is_optional=True)
FAILED = Failure("host", "EPERM", "TCP: refused")


def test_each_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sockmon")
    troubles = Troubles()
    both, neither = (OPTIONAL, FAILED), ()
    for second, failures in enumerate((both, both, neither, neither, both, both)):
        seen = poll(at(second), saw(at(second)))
        troubles.log(replace(seen, failures=failures))
    assert [record.getMessage() for record in caplog.records] == [
        "UDP: not here",
        "TCP: refused",
        "works again: TCP",
        "TCP: refused",
    ]
