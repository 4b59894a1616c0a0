"""install.sh run inside a booted machine, and what it leaves there."""

from tests.machine import Machine

#: Where the machine sees the bundle.
INSTALL = "/srv/bundle/install.sh"
CONFIG = "/etc/sockmon/sockmon.yaml"


def files(machine: Machine) -> set[str]:
    """All that an installation might touch: names, owners, and when a file was changed."""
    places = ("/etc", "/opt", "/usr/local", "/var/lib", "/home", "/root")
    times = ("-type", "d", "-printf", "%p %m %u\n", "-o", "-printf", "%p %m %u %T@\n")
    listed = machine.run("find", *places, "-xdev", *times).stdout
    return {line for line in listed.splitlines() if not line.startswith("/var/lib/systemd")}


def refused(machine: Machine, *command: str, status: int = 1) -> str:
    """What the script says when it refuses; it has changed nothing."""

    def others() -> set[str]:
        """Leave out what a running daemon writes meanwhile."""
        return {line for line in files(machine) if not line.startswith("/var/lib/sockmon/")}

    before = others()
    done = machine.run(*command, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert others() == before
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("install.sh: ")


def read(machine: Machine, path: str) -> str:
    return machine.run("cat", path).stdout


def write(machine: Machine, path: str, text: str) -> None:
    machine.run("install", "-D", "/dev/stdin", path, text=text)
