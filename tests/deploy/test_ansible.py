"""The Ansible role, linted, and run for real on the host that it configures."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.deploy import shop
from tests.machine import Machine, booted

DIRECTION = REPOSITORY / "deploy" / "ansible"
CONFIG = "/etc/sockmon/sockmon.yaml"

#: Of a password that nobody knows.
BCRYPT = "$2b$12$gSIh7.7i8oJzJ5JaJ/8SQeVnYnLDzKD2KXcnZNx8H2mW9Tc4XCEN2"


INVENTORY = """
sockmon:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: /usr/bin/python3
      ansible_become: false
      sockmon_package: /debs/sockmon.deb
"""


@dataclass(frozen=True, slots=True)
class Play:
    """What a run of site.yml has said."""

    output: str
    status: int

    @property
    def changed(self) -> int:
        """How many tasks have changed something."""
        (found,) = re.findall(r"^localhost .*changed=(\d+)", self.output, re.MULTILINE)
        return int(found)

    def handled(self, handler: str) -> bool:
        """Whether a handler has run."""
        return f"RUNNING HANDLER [sockmon : {handler}]" in self.output


@dataclass(frozen=True, slots=True)
class Server:
    """A booted machine that is its own control node."""

    machine: Machine

    def play(self, *options: str, check: bool = True, **variables: Any) -> Play:
        """Run the role with variables; it has to succeed if `check` holds."""
        environment = ["PYTHONPATH=/ansible", "ANSIBLE_PIPELINING=1", "HOME=/root"]
        command = ["python3", "-m", "ansible", "playbook", "--inventory=/srv/inventory.yml"]
        done = self.machine.run(
            *("env", *environment, *command, "--extra-vars", json.dumps(variables), *options),
            "/role/site.yml",
            check=False,
        )
        play = Play(done.stdout + done.stderr, done.returncode)
        assert not check or play.status == 0, play.output
        return play

    def file(self, path: str) -> Path:
        """A file of its own, seen from outside."""
        return self.machine.root / path.lstrip("/")

    def mode(self, path: str) -> str:
        """Who may do what with a file."""
        return self.machine.run("stat", "--format=%A %U:%G", path).stdout.strip()

    def answers(self, scheme: str = "http", port: int = 10776) -> str:
        """The status with which sockmon answers a scrape."""
        url = f"{scheme}://127.0.0.1:{port}/metrics"
        status = ("curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out")
        return self.machine.run(*status, "%{http_code}", url).stdout

    def key_and_certificate(self) -> dict[str, str]:
        """A new key, and a certificate by itself, by the names of their files."""
        request = (
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=server",
        )
        self.machine.run(*request, "-keyout", "/srv/key.pem", "-out", "/srv/cert.pem")
        names = ("key.pem", "cert.pem")
        return {name: self.file(f"/srv/{name}").read_text() for name in names}

    def helper(self) -> tuple[str, str]:
        """Whether the helper's socket starts with the server, and whether it is there now."""
        show = self.machine.show
        socket = "sockmon-netns.socket"
        return show(socket, "UnitFileState"), show(socket, "ActiveState")

    def capabilities(self) -> int:
        """What the daemon may do beyond what every user may."""
        process = self.machine.show("sockmon", "MainPID")
        status = self.machine.run("cat", f"/proc/{process}/status").stdout
        (effective,) = re.findall(r"^CapEff:\s*(\w+)", status, re.MULTILINE)
        return int(effective, 16)


def on_a_server(test: Callable[[Server], None]) -> Callable[[Server], None]:
    """What a test that boots a server and installs the package there needs."""
    for marker in (pytest.mark.root, pytest.mark.machine, pytest.mark.component("dpkg-shlibdeps")):
        test = marker(test)
    return test


@pytest.fixture(scope="module")
def binds(deb: Path) -> dict[Path, str]:
    """Ansible, the role and the package, as a server sees them."""
    ansible = importlib.util.find_spec("ansible")
    assert ansible is not None
    assert ansible.origin is not None
    return {
        Path(ansible.origin).parents[1]: "/ansible",
        DIRECTION: "/role",
        deb: "/debs/sockmon.deb",
    }


@pytest.fixture
def server(binds: dict[Path, str]) -> Iterator[Server]:
    """A server that has never seen sockmon."""
    with booted(binds) as machine:
        (machine.root / "srv/inventory.yml").write_text(INVENTORY)
        yield Server(machine)


def test_ansible_lint_finds_nothing(tmp_path: Path) -> None:
    shutil.copytree(DIRECTION, tmp_path / "ansible")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["ansible-lint", "--offline", "--strict", "--profile=production", "--nocolor"],
        cwd=tmp_path / "ansible",
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_is_documented_with_its_default() -> None:
    role = DIRECTION / "roles" / "sockmon"
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    specification = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    options = specification["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == defaults
    readme = (DIRECTION / "README.md").read_text()
    assert set(re.findall(r"^\| `(sockmon_\w+)` \|", readme, re.MULTILINE)) == set(defaults)


@on_a_server
def test_from_a_bare_server_and_back(server: Server) -> None:
    files = "find / -xdev -name '*sockmon*' -not -path '/tmp/*' | sort"
    before = server.machine.run("sh", "-c", files).stdout
    assert server.play("--check").changed > 0
    assert server.machine.run("sh", "-c", files).stdout == before

    config = {"ports": {"always_shown": [443]}, "poll": {"interval": "1s"}}
    wanted: dict[str, Any] = {"sockmon_config": config, "sockmon_namespaces": "all"}
    with shop.shop(server.machine):
        assert server.play(**wanted).changed > 0
        shop.wait_until_seen(server.machine)
    assert server.machine.show("sockmon", "ActiveState") == "active"
    assert server.machine.show("sockmon", "UnitFileState") == "enabled"
    helper = {"namespaces": "all", "netns_helper_socket": "/run/sockmon-netns/socket"}
    assert yaml.safe_load(server.file(CONFIG).read_text()) == {
        **config,
        "poll": {"interval": "1s", **helper},
    }
    assert server.mode(CONFIG) == "-rw-r----- root:sockmon"

    assert server.play(**wanted).changed == 0

    server.play(sockmon_state="absent", sockmon_purge=True)
    assert server.machine.run("ss", "-Hltn").stdout == ""
    assert server.machine.run("sh", "-c", files).stdout == before


@on_a_server
def test_every_change_is_taken_with_as_little_as_it_needs(server: Server) -> None:
    tls = {"cert_file": "/etc/sockmon/cert.pem", "key_file": "/etc/sockmon/key.pem"}
    guarded: dict[str, Any] = {
        "sockmon_process_owners": True,
        "sockmon_namespaces": "all",
        "sockmon_web_config": {
            "tls_server_config": tls,
            "basic_auth_users": {"prometheus": BCRYPT},
        },
        "sockmon_secrets": server.key_and_certificate(),
    }
    server.play(sockmon_config={"ports": {"top": 20}}, **guarded)
    assert server.capabilities() != 0
    assert server.helper() == ("enabled", "active")
    assert server.answers("https") == "401"
    for file in ("web.yaml", "key.pem"):
        assert server.mode(f"/etc/sockmon/{file}") == "-rw-r----- root:sockmon"

    process = server.machine.show("sockmon", "MainPID")
    play = server.play(sockmon_config={"ports": {"top": 30}}, **guarded)
    assert play.changed == 2
    assert play.handled("Reload sockmon")
    assert server.machine.show("sockmon", "MainPID") == process

    before = server.file(CONFIG).read_text()
    for options in ((), ("--check",)):
        bad = {"ports": {"top": -1}, "prots": {}}
        play = server.play(*options, check=False, sockmon_config=bad, **guarded)
        assert play.status != 0
        assert "ports.top: expected greater than or equal to 0" in play.output
        assert "prots: unknown key" in play.output
        assert play.changed == 0
    assert server.file(CONFIG).read_text() == before
    assert server.answers("https") == "401"

    play = server.play(sockmon_config={"web": {"listen_address": ":10777"}})
    assert play.handled("Restart sockmon")
    assert not play.handled("Reload sockmon")
    assert server.answers(port=10777) == "200"
    assert server.capabilities() == 0
    assert server.helper() == ("disabled", "inactive")
    assert not any(server.file("/etc/systemd/system/sockmon.service.d").iterdir())
    assert not server.file("/etc/sockmon/web.yaml").exists()
    config = {"web": {"listen_address": ":10777"}, "state_dir": "/var/lib/sockmon"}
    assert server.play(sockmon_config=config).handled("Restart sockmon")


@on_a_server
def test_what_it_cannot_install_is_said_before_anything_is_done(server: Server) -> None:
    for named in ("", "https://example.invalid/sockmon.deb"):
        play = server.play(check=False, sockmon_package=named)
        assert play.status != 0
        assert "set sockmon_package to the path of the .deb" in play.output
        assert play.changed == 0
    older = server.file("/usr/lib/python3/dist-packages/usercustomize.py")
    older.write_text("import ansible.release\nansible.release.__version__ = '2.13.9'\n")
    play = server.play(check=False)
    assert play.status != 0
    assert "this role needs ansible-core 2.14 or newer" in play.output
    assert play.changed == 0
    older.unlink()
    release = server.file("/etc/os-release")
    release.unlink()  # a link into /usr, as is /usr/lib/os-release
    release.write_text("ID=fedora\nNAME=Fedora\n")
    server.file("/etc/debian_version").unlink()
    play = server.play(check=False)
    assert play.status != 0
    assert "the host has Fedora with systemd: see deploy/README.md" in play.output
