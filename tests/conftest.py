"""What a test needs beyond Python: root, and components. Without them it is left out, loudly.

Under CI nothing may be left out: there a missing component is a failure.
"""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
COMPONENTS = REPOSITORY / ".components" / "usr"
#: The root of a Debian server with systemd, to be booted by tests/machine.py.
MACHINE = REPOSITORY / ".components" / "machine"


def component(name: str) -> str | None:
    """Find a program that tests/install-components installs or unpacks."""
    unpacked = f"{COMPONENTS}/bin:{COMPONENTS}/sbin"
    return shutil.which(name, path=f"{unpacked}:{os.environ.get('PATH', '')}")


#: The files whose tests take longest, longest first: a run would otherwise wait for them at its end.
LONGEST = (
    "deploy/test_ansible.py",
    "live/test_drill.py",
    "deploy/test_debian_package.py",
    "deploy/test_container.py",
    "deploy/test_install.py",
    "deploy/test_systemd.py",
    "deploy/test_fleet.py",
    "live/test_commands_namespaces.py",
    "deploy/test_netns_helper.py",
    "live/test_namespaces_kept.py",
    "live/test_web_tls.py",
    "live/test_web.py",
    "deploy/test_grafana_queries.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            _leave_out(item, "needs root, to make network namespaces")
        for marker in item.iter_markers("component"):
            if component(marker.args[0]) is None:
                _leave_out(item, f"needs {marker.args[0]}: see tests/install-components")
        if item.get_closest_marker("machine") and not MACHINE.exists():
            _leave_out(item, "needs a machine to boot: see tests/install-components")


def _turn(item: pytest.Item) -> int:
    file = str(item.path.relative_to(REPOSITORY / "tests"))
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def _leave_out(item: pytest.Item, reason: str) -> None:
    if os.environ.get("CI"):
        item.add_marker(pytest.mark.usefixtures("nothing_is_left_out_under_ci"))
    else:
        item.add_marker(pytest.mark.skip(reason=reason))


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
