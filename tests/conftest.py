"""What a test needs beyond Python: root, and components. Without them it is left out, loudly.

Under CI nothing may be left out: there a missing component is a failure.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from xdist.remote import Producer

from tests.packing import Packing, turn

REPOSITORY = Path(__file__).parent.parent
COMPONENTS = REPOSITORY / ".components" / "usr"
#: The root of a Debian server with systemd, to be booted by tests/machine.py.
MACHINE = REPOSITORY / ".components" / "machine"
#: The last of the kernels that tests/live/test_kernels.py boots.
KERNELS = REPOSITORY / "build" / "kernels" / "6.1" / "complete"

# Bytecode is kept, even where the environment says otherwise: without it each of the thousand
# programs that the tests start compiles all of sockmon.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: How coverage.py reaches the programs that are started (patch in pyproject.toml).
_COVERAGE_OF_PROGRAMS = "COVERAGE_PROCESS_CONFIG"
_COVERAGE = os.environ.get(_COVERAGE_OF_PROGRAMS)
#: The tests whose programs are measured.
_MEASURED = ("cli", "live/test_daemon.py", "live/test_netns_helper.py", "live/test_top.py")


def component(name: str) -> str | None:
    """Find a program that tests/install-components installs or unpacks."""
    unpacked = f"{COMPONENTS}/bin:{COMPONENTS}/sbin"
    return shutil.which(name, path=f"{unpacked}:{os.environ.get('PATH', '')}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Measure what code is run by the programs that some tests start.

    The programs of the others run the same, and a program that is measured takes twice the time.
    """
    if _COVERAGE is not None:
        os.environ.pop(_COVERAGE_OF_PROGRAMS, None)
        if any(item.path.is_relative_to(REPOSITORY / "tests" / part) for part in _MEASURED):
            os.environ[_COVERAGE_OF_PROGRAMS] = _COVERAGE


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Packing | None:
    return Packing(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = REPOSITORY / "tests"
    items.sort(key=lambda item: turn(str(item.path.relative_to(tests))))
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            _leave_out(item, "needs root, to make network namespaces")
        for marker in item.iter_markers("component"):
            if component(marker.args[0]) is None:
                _leave_out(item, f"needs {marker.args[0]}: see tests/install-components")
        if item.get_closest_marker("kernels") and not KERNELS.exists():
            _leave_out(item, "needs kernels to boot: see tests/kernels/install")
        if item.get_closest_marker("machine") and not MACHINE.exists():
            _leave_out(item, "needs a machine to boot: see tests/install-components")


def _leave_out(item: pytest.Item, reason: str) -> None:
    if os.environ.get("CI"):
        item.add_marker(pytest.mark.usefixtures("nothing_is_left_out_under_ci"))
    else:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def _signals_are_not_inherited_ignored() -> None:
    """Let the programs that tests start react to signals that this process was told to ignore.

    In a script, `make test &` has SIGINT and SIGQUIT ignored, nohup SIGHUP. Programs inherit that,
    but they do not inherit a handler. SIGINT does here what it does where it is not ignored; else
    a test that sends it to itself would never end.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            interrupts = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupts else lambda *_: None)


@pytest.fixture
def nothing_is_left_out_under_ci() -> None:
    pytest.fail("CI lacks what this test needs: root, or a component")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
        terminalreporter.section("LEFT OUT")
        terminalreporter.line(f"{len(skipped)} tests did not run:")
        for reason in sorted(reasons):
            terminalreporter.line(f"  {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
