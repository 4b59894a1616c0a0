"""count, doctor and top on hosts of many named namespaces."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import eventually
from tests.podhost import PodHost, pod_host
from tests.running import running_daemon
from tests.terminal import Terminal

pytestmark = pytest.mark.root

WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
EMPTY = 10
PODS = {f"pod-{n:02}": {"established": n % 4 + 1} for n in range(89)} | {
    "shop": {"established": 2, "leaked": 14},
    **{f"idle-{n}": {} for n in range(EMPTY)},
}
OCCUPIED = len(PODS) - EMPTY
FEW = {name: PODS[name] for name in ("pod-00", "pod-01", "shop", "idle-0")}
CONFIG = """\
poll: {{interval: 500ms, namespaces: {where}}}
detect:
  close_wait_leak: {{stale_after: 200ms}}
"""
SIZES = [(80, 24), (40, 10)]
ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def host() -> Iterator[PodHost]:
    with pod_host(PODS) as made:
        yield made


@pytest.fixture(scope="module")
def small() -> Iterator[PodHost]:
    with pod_host(FEW) as made:
        yield made


@pytest.fixture
def everywhere(tmp_path: Path) -> str:
    path = tmp_path / "all.yaml"
    path.write_text(CONFIG.format(where="all"))
    return str(path)


@pytest.fixture
def host_alone(tmp_path: Path) -> str:
    path = tmp_path / "host.yaml"
    path.write_text(CONFIG.format(where="host"))
    return str(path)


def counted(host: PodHost, *arguments: str) -> Counter[str]:
    """Sockets by what the first column names."""
    done = host.run(*host.sockmon("count", "--format=plain", *arguments))
    assert done.stderr == ""
    return Counter({words[0]: int(words[-1]) for words in map(str.split, done.stdout.splitlines())})


def by_ss(host: PodHost) -> Counter[str]:
    script = 'for f in /run/netns/*; do echo "${f##*/} $(nsenter --net=$f ss -Htan | wc -l)"; done'
    lines = host.run(*host.command("sh", "-c", script)).stdout.splitlines()
    return +Counter({name: int(n) for name, n in map(str.split, lines)})


class TestCount:
    def test_by_netns_is_what_ss_says_in_each(self, host: PodHost) -> None:
        made = {name: 2 * n["established"] + 1 for name, n in PODS.items() if n}
        made["shop"] += 2 * 14 + 1
        assert counted(host, "--by=netns") == made == by_ss(host)

    def test_one_namespace_by_name(self, host: PodHost) -> None:
        expected = {"listen": 2, "established": 4, "close_wait": 14, "fin_wait2": 14}
        assert counted(host, "--netns=shop") == expected
        assert counted(host, "--netns=shop", "--by=direction", "--state=close-wait") == {
            "inbound": 14
        }
        assert counted(host, "--netns=host") == counted(host, "--netns=idle-1") == {}

    def test_the_owner_is_known_of_sockets_elsewhere(self, host: PodHost) -> None:
        found = counted(host, "--by=owner,netns", "--state=close_wait")
        ((owner, sockets),) = found.items()
        assert re.fullmatch(r"python[\d.]*_leaking_server\.py\[\d+\]", owner)
        assert sockets == 14

    def test_a_name_that_nobody_has_is_refused(self, host: PodHost) -> None:
        done = host.run(*host.sockmon("count", "--netns=shpo"))
        assert done.returncode == 2
        assert done.stderr.startswith("sockmon: --netns: there is no 'shpo' here")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize(("asked", "sees"), [([], 0), (["--namespaces=all"], OCCUPIED)])
    def test_other_keys_look_where_they_are_told(
        self, host: PodHost, asked: list[str], sees: int
    ) -> None:
        assert counted(host, "--state=listen", *asked)["listen"] == sees + bool(sees)

    def test_without_privilege_that_is_said(self, host: PodHost) -> None:
        done = host.run(*host.sockmon("count", "--by=netns", prefix=WITHOUT_PRIVILEGE))
        assert done.returncode == 0
        assert "CAP_SYS_ADMIN" in done.stderr
        assert done.stderr.count("\n") == 1


class TestDoctor:
    def test_a_leak_is_told_with_its_namespace_and_the_nsenter_prefix(
        self, small: PodHost, everywhere: str
    ) -> None:
        done = small.run(*small.sockmon("doctor", "--config", everywhere))
        assert done.returncode == 1
        first, _, heading, summary, *others = done.stdout.splitlines()
        assert first.startswith("WARNING: netns shop: ")
        assert re.fullmatch(r"\[warning\] close_wait_leak, netns shop, inbound port \d+", heading)
        assert summary.startswith("  python leaking_server.py has not closed 14 connections")
        looked = "looked into 3 other network namespaces that have sockets"
        assert f"note: {looked}; 1 more are empty" in others
        nsenter_prefix = re.search(r"nsenter --net=\S+", done.stdout)
        see = re.search(r"ss -tnpo state close-wait .*", done.stdout)
        assert nsenter_prefix
        assert see
        shown = small.run(*small.command("sh", "-c", f"{nsenter_prefix[0]} {see[0]}")).stdout
        assert len(re.findall("python", shown)) == 14

    def test_json_says_where_it_looked(self, small: PodHost, everywhere: str) -> None:
        done = small.run(*small.sockmon("doctor", "--format=json", "--config", everywhere))
        told = json.loads(done.stdout)
        assert (done.returncode, told["status"]) == (1, "warning")
        assert [found["netns"] for found in told["findings"]] == ["shop"]
        assert told["namespaces"] == {
            "inside": 3, "outside": 0, "empty": 1, "hidden": 0
        }  # fmt: skip

    def test_the_hosts_own_alone_is_well_and_the_others_are_not_passed_over(
        self, small: PodHost, host_alone: str
    ) -> None:
        done = small.run(*small.sockmon("doctor", "--config", host_alone))
        assert done.returncode == 0
        assert "note: 3 other network namespaces have sockets" in done.stdout
        asked = small.run(*small.sockmon("doctor", "--config", host_alone, "--namespaces=all"))
        assert asked.stdout.startswith("WARNING: netns shop: ")

    def test_without_privilege_nothing_is_called_well(
        self, small: PodHost, everywhere: str
    ) -> None:
        done = small.run(*small.sockmon("doctor", "--config", everywhere, prefix=WITHOUT_PRIVILEGE))
        assert done.returncode == 3
        assert done.stdout.startswith("UNKNOWN: ")

    def test_what_the_daemon_has_found_too_is_told_once(
        self, small: PodHost, everywhere: str, host_alone: str
    ) -> None:
        with running_daemon(small.netns, "--config", everywhere, prefix=small.command()) as daemon:

            def findings(config: str) -> list[tuple[str, str]]:
                done = small.run(*small.sockmon("doctor", "--format=json", "--config", config))
                found = json.loads(done.stdout)["findings"]
                return [(one["netns"], one["source"]) for one in found]

            daemon.wait_for_polls(4)
            eventually(lambda: findings(host_alone), until=lambda f: f == [("shop", "daemon")])
            assert findings(everywhere) == [("shop", "doctor")]


def pods_of_the_table(lines: list[str]) -> list[str]:
    """What is above the table tells of others too: those that could not be read in time, say."""
    headings = [at for at, line in enumerate(lines) if "PORT " in line and "NETNS" in line]
    return re.findall(r"pod-\d+", "\n".join(lines[headings[-1] : -1])) if headings else []


class TestTop:
    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_a_leak_in_a_container_is_the_first_thing_to_see(
        self, host: PodHost, everywhere: str, size: tuple[int, int]
    ) -> None:
        argv = host.sockmon("top", "--config", everywhere)
        with Terminal.running(host.netns, argv, size) as top:
            top.shows("WARNING", "1 warning shop: close_wait_leak")
            eventually(top.lines, until=lambda lines: lines[0].startswith(" WARNING  shop: "))
            self.keys_go_through_namespaces(top, size)

    def keys_go_through_namespaces(self, top: Terminal, size: tuple[int, int]) -> None:
        top.press("g", "r")
        top.shows("NETNS", "TOTAL▲")
        top.press("r", "n")
        chosen = top.shows(" shop on ", "!  shop", "TOTAL▼")
        assert "34 sockets" in chosen[1]
        top.press("\r")
        ports = top.shows("PORT ", "DIRECTION", "!  ", "inbound")
        assert "NETNS" not in "\n".join(ports)
        eventually(
            lambda: [line.split()[:3:2] for line in top.lines()],
            until=lambda rows: ["!", "inbound"] in rows,
        )
        top.press("n")
        top.shows(" pod-03 on ")
        top.press(ESCAPE)
        lines = eventually(top.lines, until=lambda lines: " on " not in lines[1])
        assert len(lines) == size[1]
        top.press("/", *"pod-42", "\r")
        # While it is typed, more fit it.
        eventually(
            lambda: pods_of_the_table(top.lines()),
            until=lambda pods: bool(pods) and set(pods) == {"pod-42"},
        )

    def test_by_namespace_a_hundred_can_be_read(self, host: PodHost, everywhere: str) -> None:
        argv = host.sockmon("top", "--config", everywhere)
        with Terminal.running(host.netns, argv) as top:
            top.shows("WARNING", f"{OCCUPIED + 1} namespaces")
            top.press("g")
            lines = top.shows("NAMESPACES", "AGE")
            assert sum("pod-" in line for line in lines) >= 5
            top.press("S", "S")  # from TOTAL over AGE to the names
            names = top.shows("NETNS▲", "pod-00")
            shown = re.findall(r"(?m)^ {3}(pod-\d+)", "\n".join(names))
            assert shown[:3] == ["pod-00", "pod-01", "pod-02"]
            top.press(" ")
            top.shows("FROZEN", "NAMESPACES")

    def test_a_daemons_namespaces_are_seen_the_same_way(
        self, host: PodHost, everywhere: str
    ) -> None:
        with running_daemon(host.netns, "--config", everywhere, prefix=host.command()) as daemon:
            daemon.wait_for_polls(4)
            argv = host.sockmon("top", "--url", "http://127.0.0.1:10776")
            with Terminal.running(host.netns, argv) as top:
                top.shows(" WARNING  shop: python leaking_server.py has", "namespaces")
                top.press("n")  # by port, those in trouble are the first
                top.shows(" shop on http://", "34 sockets", "FINDINGS 1")

    def test_what_is_seen_from_outside_is_marked(self, host: PodHost, everywhere: str) -> None:
        argv = host.sockmon("top", "--config", everywhere, prefix=WITHOUT_PRIVILEGE)
        with Terminal.running(host.netns, argv, (100, 30)) as top:
            top.shows("UNKNOWN", "CAP_SYS_ADMIN")
            top.press("g")
            top.shows("NAMESPACES", "\n?  ")


def test_a_namespace_that_ends_while_it_is_looked_at_is_said_to_be_gone(everywhere: str) -> None:
    pods = {"brief": {"established": 2}, "other": {"established": 1}}
    with pod_host(pods) as host:
        argv = host.sockmon("top", "--config", everywhere)
        with Terminal.running(host.netns, argv) as top:
            top.shows("OK  the", "in 3 namespaces")
            top.press("n")
            top.shows(" brief on ", "5 sockets")
            host.end("brief")
            top.shows("netns brief is not there")
            top.press("n")
            top.shows("2 namespaces", "OK  the")
