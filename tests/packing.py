"""Which tests a process runs, and in which order: a run must not end with a long one."""

from xdist.scheduler import LoadFileScheduling

#: Files of which each test makes all that it needs: several processes may run them. The tests of
#: all other files stay together, because they share what is expensive to make.
APART = frozenset({"deploy/test_ansible.py", "live/test_drill.py"})

#: The files whose tests take longest, longest first. Those that mostly wait come before those that
#: compute, which can use all that is left of the machine.
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


def turn(file: str) -> int:
    """When the tests of a file (below tests/) are run: the lowest first."""
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


class Packing(LoadFileScheduling):  # type: ignore[misc] # xdist ships no types
    """Each file as a whole, but for those of which each test may be anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        """Return what is run together (xdist's own hook)."""
        file = nodeid.partition("::")[0]
        return nodeid if file.removeprefix("tests/") in APART else file
