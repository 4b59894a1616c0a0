"""Which tests a process runs, and in which order: a run must not end with a long one."""

from xdist.scheduler import LoadFileScheduling

#: Files of which each test makes all that it needs: several processes may run them. The tests of
#: all other files stay together, because they share what is expensive to make.
APART = frozenset({"deploy/test_ansible.py", "live/test_drill.py"})

#: The files whose tests take longest, longest first.
LONGEST = (
    "deploy/test_ansible.py",
    "deploy/test_container.py",
    "deploy/test_install.py",
    "deploy/test_debian_package.py",
    "deploy/test_fleet.py",
    "deploy/test_systemd.py",
    "live/test_drill.py",
    "live/test_web_tls.py",
    "live/test_commands_namespaces.py",
    "live/test_owners.py",
    "deploy/test_grafana_queries.py",
    "live/test_namespaces_kept.py",
    "live/test_namespaces_life.py",
    "live/test_rounds.py",
    "live/test_daemon.py",
    "live/test_doctor.py",
    "live/test_kernels.py",
    "deploy/test_netns_helper.py",
    "deploy/test_kubernetes_live.py",
    "deploy/test_install_refusals.py",
    "live/test_web.py",
    "cli/test_colour.py",
    "cli/test_completion.py",
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
