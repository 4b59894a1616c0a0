"""The command line over recorded kernels: needs no root and no network."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sockmon import __version__
from sockmon.commands.cli import main
from sockmon.detect.registry import ALL
from sockmon.drill import NAMES as DRILLS
from sockmon.kernel.netlink.replay import replay
from sockmon.kernel.netlink.source import KernelSource
from sockmon.poll.count_keys import KEYS
from tests.conftest import REPOSITORY, component
from tests.recorded import MIXED, QUIET

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sockmon(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, recording: Path = MIXED) -> tuple[int, str, str]:
        def open_source(_: Callable[[], bool]) -> KernelSource:
            return replay(recording)

        try:
            status = main(arguments, open_source)
        except SystemExit as ended:
            status = int(str(ended.code))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def total(sockmon: Run, *arguments: str) -> int:
    status, out, _ = sockmon("count", "--format", "json", *arguments)
    assert status == 0
    answer = json.loads(out)
    assert answer["total"] == sum(group["count"] for group in answer["groups"])
    result: int = answer["total"]
    return result


def test_tells_its_version(sockmon: Run) -> None:
    assert sockmon("--version") == (0, f"sockmon {__version__}\n", "")


@pytest.mark.parametrize("command", [(), ("run",), ("count",), ("doctor",), ("rules",)])
def test_every_command_has_help(sockmon: Run, command: tuple[str, ...]) -> None:
    status, out, _ = sockmon(*command, "--help")
    assert status == 0
    assert "usage: sockmon" in out


@pytest.mark.parametrize("key", [key for key in KEYS if key != "owner"])
def test_every_key_counts_every_socket_once(sockmon: Run, key: str) -> None:
    assert total(sockmon, "--by", key, "--protocol", "tcp") == total(sockmon)


def test_keys_combine(sockmon: Run) -> None:
    status, out, _ = sockmon(
        "count", "--by", "direction,port,state,family,peer", "--format", "json"
    )
    assert status == 0
    groups = json.loads(out)["groups"]
    assert all(
        set(group) == {"direction", "port", "state", "family", "peer", "count"} for group in groups
    )
    assert [group["count"] for group in groups] == sorted(
        (group["count"] for group in groups), reverse=True
    )


def test_filters_take_their_part(sockmon: Run) -> None:
    assert total(sockmon, "--family", "4") + total(sockmon, "--family", "6") == total(sockmon)
    _, out, _ = sockmon("count", "--by", "port", "--format", "json")
    biggest = json.loads(out)["groups"][0]
    assert total(sockmon, "--port", str(biggest["port"])) == biggest["count"]


@pytest.mark.parametrize("spelling", ["time_wait", "TIME-WAIT", "TIME_WAIT", "time-wait"])
def test_a_state_may_be_spelled_as_any_tool_does(sockmon: Run, spelling: str) -> None:
    assert total(sockmon, "--state", spelling) == total(sockmon, "--state", "time_wait") > 0


def test_formats_tell_the_same(sockmon: Run) -> None:
    _, out, _ = sockmon("count", "--format", "json")
    groups = json.loads(out)["groups"]
    _, out, _ = sockmon("count", "--format", "csv")
    assert list(csv.DictReader(io.StringIO(out))) == [
        {"state": group["state"], "count": str(group["count"])} for group in groups
    ]
    _, out, _ = sockmon("count", "--format", "plain")
    assert out.splitlines() == [f"{group['state']} {group['count']}" for group in groups]
    _, out, _ = sockmon("count")
    table = [line.split() for line in out.splitlines()]
    assert table[0] == ["STATE", "SOCKETS"]
    assert table[1:-1] == [[group["state"], str(group["count"])] for group in groups]
    assert table[-1] == ["total", str(sum(group["count"] for group in groups))]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("count", "--by", "colour"), "'colour' is none of state, port, direction"),
        (("count", "--by", "owenr"), "; did you mean owner?"),
        (("count", "--by", "process"), "; did you mean owner?"),
        (("count", "--by", "Service"), "; did you mean unit?"),
        (("count", "--by", "state,state"), "names a key twice"),
        (("count", "--by", ""), "is none of"),
        (("count", "--state", "open"), "'open' is none of established"),
        (("count", "--state", "TIMEWAIT"), "; did you mean time_wait?"),
        (("count", "--port", "65536"), "is not a port"),
        (("count", "--port", "htpp"), "is not a port (0 to 65535), nor a service"),
        (("count", "--family", "5"), "'5' is none of 4, 6"),
        (
            ("count", "--format", "jsn"),
            "'jsn' is none of table, json, csv, plain; did you mean json?",
        ),
        (("count", "--config", "/nonexistent"), "cannot read it"),
        (("frobnicate",), "'frobnicate' is none of run, count"),
        (("cuont",), "; did you mean count?"),
        ((), "required"),
        (("check-config",), "required"),
        (("run", "--listen", "x"), "unrecognized arguments: --listen x"),
        (("count", "--prot=80"), "did you mean --port? (see sockmon count --help)"),
        (("drill", "close_weight"), "; did you mean close-wait?"),
        (("count", "--\x1b[31m\n"), "unrecognized arguments: --\\x1b[31m\\n"),
    ],
)
def test_a_mistake_is_one_clear_line(sockmon: Run, arguments: tuple[str, ...], says: str) -> None:
    status, out, err = sockmon(*arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_port_may_be_a_service(sockmon: Run) -> None:
    assert total(sockmon, "--port", "https") == total(sockmon, "--port", "443")


def test_drill_without_a_name_lists_them(sockmon: Run) -> None:
    status, out, err = sockmon("drill")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(DRILLS)
    assert all("Sockmon" in line and len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize("spelling", ["close_wait", "CLOSE-WAIT", "Close_Wait"])
def test_a_drill_may_be_spelled_as_its_state(sockmon: Run, spelling: str) -> None:
    status, _, err = sockmon("drill", spelling, "--count", "0")
    assert (status, err) == (2, "sockmon: --count: 0 is not 1 or more\n")


def test_rules_have_the_configured_thresholds(sockmon: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "detect:\n"
        "  time_wait_pressure: {warning_ratio: 0.61, for: 7m}\n"
        "  dead_peer: {enabled: false}\n"
    )
    status, out, _ = sockmon("rules", "--config", str(path))
    assert status == 0
    assert '(sockmon_time_wait_buckets_limit{job="sockmon"} > 0) >= 0.61' in out
    assert "for: 7m" in out
    assert "SockmonDeadPeer" not in out
    assert "SockmonDeadPeer" in sockmon("rules")[1]


@pytest.mark.component("promtool")
def test_promtool_accepts_the_rules(sockmon: Run, tmp_path: Path) -> None:
    promtool = component("promtool")
    assert promtool is not None
    rules = tmp_path / "rules.yml"
    rules.write_text(sockmon("rules")[1])
    checked = subprocess.run(
        [promtool, "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    alerts = set(re.findall(r"alert: (\w+)", rules.read_text()))
    assert alerts == {detector.alert for detector in ALL} | {"SockmonDown", "SockmonPollFailing"}


def test_doctor_sees_no_trouble_in_a_quiet_recording(sockmon: Run) -> None:
    status, out, err = sockmon("doctor", recording=QUIET)
    assert (status, err) == (0, "")
    assert out.startswith("OK: the sockets are healthy\n")
    status, out, _ = sockmon("doctor", "--format", "json", recording=QUIET)
    assert status == 0
    assert json.loads(out)["status"] == "ok"
    assert json.loads(out)["findings"] == []


def test_doctor_that_cannot_look_says_so_and_exits_3(sockmon: Run, tmp_path: Path) -> None:
    (tmp_path / "dumps").mkdir()
    status, out, _ = sockmon("doctor", recording=tmp_path)
    assert status == 3
    assert out.startswith("UNKNOWN: this host's sockets could not be read in full\n")
    assert "could not read: " in out
    assert json.loads(sockmon("doctor", "--format", "json", recording=tmp_path)[1])["status"] == (
        "unknown"
    )


@pytest.mark.parametrize("arguments", [("--format", "xml"), ("--config", "/nonexistent"), ("x",)])
def test_a_mistake_with_doctor_exits_3(sockmon: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = sockmon("doctor", *arguments)
    assert (status, out) == (3, "")
    assert len(err.splitlines()) == 1


def test_check_config_names_every_mistake(sockmon: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("poll:\n  interval: 5\nwbe: {}\n")
    status, out, err = sockmon("check-config", str(path))
    assert (status, out) == (1, "")
    assert err == (
        f"{path}:2: poll.interval: expected a duration such as 5s, 10m or 1h\n"
        f"{path}:3: wbe: unknown key; did you mean web?\n"
    )


def test_check_config_finds_nothing_wrong(sockmon: Run) -> None:
    example = REPOSITORY / "config.example.yaml"
    assert sockmon("check-config", str(example)) == (0, f"{example}: ok\n", "")


def test_a_kernel_without_inet_diag_is_an_error_and_not_a_zero(
    sockmon: Run, tmp_path: Path
) -> None:
    missing = tmp_path / "without-inet-diag"
    for path in MIXED.rglob("*"):
        if path.is_file():
            copy = missing / path.relative_to(MIXED)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    done_with_enoent = bytes.fromhex("14000000030002000000000000000000feffffff")
    for dump in (missing / "dumps").iterdir():
        dump.write_bytes(len(done_with_enoent).to_bytes(4, "little") + done_with_enoent)
    status, out, err = sockmon("count", recording=missing)
    assert (status, out) == (2, "")
    assert err == (
        "sockmon: sock_diag dump of tcp/ipv4: ENOENT (No such file or directory); the kernel "
        "module that lists them is missing (modprobe tcp_diag udp_diag)\n"
    )


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m sockmon count --by port,state | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"0\n", ended.stdout)
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("command", "status"), [("count", 2), ("rules", 2), ("doctor", 3)], ids=str
)
def test_an_answer_that_cannot_be_written_is_told_in_one_line(command: str, status: int) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "sockmon", command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == status
    assert ended.stderr == "sockmon: cannot write the answer: No space left on device\n"


def test_a_closed_output_is_no_mistake() -> None:
    command = f"{sys.executable} -m sockmon count >&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_limits_that_contradict_each_other_are_told(sockmon: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "detect:\n"
        "  time_wait_pressure: {warning_ratio: 0.9, critical_ratio: 0.5}\n"
        "  close_wait_leak: {stale_after: 20m}\n"
        "state_dir: here\n"
    )
    assert sockmon("check-config", str(path)) == (
        1,
        "",
        (
            f"{path}:2: detect.time_wait_pressure: critical_ratio 0.5 is below the warning's 0.9\n"
            f"{path}:3: detect.close_wait_leak: stale_after is longer than critical_age\n"
            f"{path}:4: state_dir: expected an absolute path\n"
        ),
    )


PERFORMANCE_DATA = re.compile(r"[a-z_0-9]+=(U|-?\d+(s|%)?(;\d*){0,3}(;\d*)?)")


def nagios(sockmon: Run, *arguments: str, recording: Path) -> tuple[int, str, dict[str, str]]:
    """Status, text and figures, as a monitoring system reads them."""
    status, out, err = sockmon("doctor", "--format", "nagios", *arguments, recording=recording)
    assert (err, out.count("\n"), out.count("|")) == ("", 1, 1)
    text, figures = out.split(" | ")
    assert all(PERFORMANCE_DATA.fullmatch(figure) for figure in figures.split())
    return status, text, dict(figure.split("=") for figure in figures.split())


def test_a_monitoring_plugin_prints_one_line_with_performance_data(
    sockmon: Run, tmp_path: Path
) -> None:
    status, text, quiet = nagios(sockmon, recording=QUIET)
    assert (status, text) == (0, "SOCKMON OK - the sockets are healthy")
    assert quiet["findings_critical"] == "0;;;0"
    status, text, mixed = nagios(sockmon, recording=MIXED)
    assert (status, text.split(" - ")[0]) == (1, "SOCKMON WARNING")
    assert mixed["findings_warning"] != "0;;;0"
    assert int(mixed["time_wait"].split(";")[0]) == total(sockmon, "--state", "time_wait")
    used, warning, critical, least, most = mixed["time_wait_buckets"].split(";")
    assert (int(warning), int(critical)) == (round(0.8 * int(most)), round(0.95 * int(most)))
    assert int(least) == 0 <= int(used) <= int(most)
    assert mixed.keys() == quiet.keys()
    (tmp_path / "dumps").mkdir()
    status, text, unread = nagios(sockmon, recording=tmp_path)
    assert (status, text.split(" - ")[0]) == (3, "SOCKMON UNKNOWN")
    assert unread["close_wait"] == unread["time_wait_buckets"] == "U", "not a healthy zero"
    assert unread.keys() == quiet.keys()


def test_a_monitoring_plugin_says_its_mistakes_where_they_are_read(sockmon: Run) -> None:
    status, out, err = sockmon("doctor", "--format", "nagios", "--config", "/none|here")
    assert (status, err) == (3, "")
    assert out == "SOCKMON UNKNOWN - /none/here: cannot read it: No such file or directory\n"


def test_doctor_speaks_chinese(sockmon: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked, _ = sockmon("doctor", "--lang", "zh")
    assert asked.startswith("警告：端口 1")
    assert "  端口 10096 有 5 个连接等待未知进程 accept：全连接队列已用 100%（容量 5）\n" in asked
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert sockmon("doctor")[1].startswith("警告：端口 1")
    english = [line for line in asked.splitlines() if re.search(r"[a-z]+ (the|is|are|to) ", line)]
    assert english == []
    _, asked, _ = sockmon("doctor", recording=QUIET)
    assert asked.startswith("正常：连接状态正常\n")
    assert sockmon("doctor", "--lang", "en", recording=QUIET)[1].startswith("OK: ")


def test_an_output_without_chinese_gets_english_or_a_mistake() -> None:
    def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "latin-1"}
        command = [sys.executable, "-m", "sockmon", "doctor", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=REPOSITORY
        )

    assert "TCP sockets" in ended().stdout
    assert ended("--lang", "zh").stderr == (
        "sockmon: --lang zh: the output's encoding, iso8859-1, has no Chinese: "
        "set LANG=zh_CN.UTF-8\n"
    )


def test_verbose_puts_each_fact_on_its_own_line(sockmon: Run) -> None:
    assert "\n    queue: 5\n    queue limit: 4\n" in sockmon("doctor", "-v")[1]
    assert "\n  - queue: 5; queue limit: 4; " in sockmon("doctor")[1]
