"""`sockmon explain`: every string that people search for is answered, and what is not says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.commands.cli import main
from sockmon.commands.explain.explain import ENTRIES, find, lines, nearest
from sockmon.detect.registry import ALL
from sockmon.model.states import TcpState
from tests.conftest import REPOSITORY

#: As logs, tools and articles write them, and the runbook that helps; None: no alert is about it.
SEEN = [
    ("TCP: time wait bucket table overflow", "SockmonTimeWaitPressure"),
    ("TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.",
     "SockmonSynBacklog"),
    ("possible SYN flooding on port", "SockmonSynBacklog"),
    ("    5823 times the listen queue of a socket overflowed", "SockmonAcceptQueue"),
    ("    5823 SYNs to LISTEN sockets dropped", "SockmonAcceptQueue"),
    ("Connection timed out", "SockmonConnectStalled"),
    ("connect() failed (110: Connection timed out) while connecting to upstream",
     "SockmonConnectStalled"),
    ("Connection reset by peer", "SockmonResetBurst"),
    ("recv() failed (104: Connection reset by peer) while reading response header",
     "SockmonResetBurst"),
    ("Broken pipe", None),
    ("BrokenPipeError: [Errno 32] Broken pipe", None),
    ("Cannot assign requested address", "SockmonEphemeralPortPressure"),
    ("OSError: [Errno 99] Cannot assign requested address", "SockmonEphemeralPortPressure"),
    ("Address already in use", "SockmonEphemeralPortPressure"),
    ("Too many open files", "SockmonDescriptorPressure"),
    ("accept4() failed (24: Too many open files)", "SockmonDescriptorPressure"),
    ("nf_conntrack: table full", "SockmonConntrackPressure"),
    ("kernel: nf_conntrack: nf_conntrack: table full, dropping packet", "SockmonConntrackPressure"),
    ("Resource temporarily unavailable", "SockmonAcceptQueue"),
    ("connect() to unix:/run/php.sock failed (11: Resource temporarily unavailable)",
     "SockmonAcceptQueue"),
    ("大量 CLOSE_WAIT", "SockmonCloseWaitLeak"),
    ("服务器出现大量 CLOSE_WAIT 怎么解决", "SockmonCloseWaitLeak"),
    ("TIME_WAIT 过多", "SockmonTimeWaitPressure"),
    ("半连接队列 溢出", "SockmonSynBacklog"),
    ("半连接队列溢出", "SockmonSynBacklog"),
    ("全连接队列 溢出", "SockmonAcceptQueue"),
    ("全连接队列溢出", "SockmonAcceptQueue"),
    ("TCP: out of memory -- consider tuning tcp_mem", "SockmonTcpMemoryPressure"),
    ("TCP: too many orphaned sockets", "SockmonOrphanPressure"),
    ("dial tcp 192.0.2.5:443: connect: cannot assign requested address",
     "SockmonEphemeralPortPressure"),
    ("Error: connect EADDRNOTAVAIL 127.0.0.1:6379", "SockmonEphemeralPortPressure"),
    ("端口耗尽", "SockmonEphemeralPortPressure"),
    ("http: Accept error: accept tcp [::]:8080: accept4: too many open files; retrying in 1s",
     "SockmonDescriptorPressure"),
    ("java.net.SocketException: Connection reset", "SockmonResetBurst"),
    ("Error: socket hang up", "SockmonResetBurst"),
    ("('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
     "SockmonResetBurst"),
    ("upstream prematurely closed connection while reading response header from upstream",
     "SockmonResetBurst"),
    ("*1 upstream timed out (110: Connection timed out) while reading response header",
     "SockmonConnectStalled"),
    ("*1 no live upstreams while connecting to upstream", "SockmonConnectStalled"),
    ("dial tcp 192.0.2.5:3306: i/o timeout", "SockmonConnectStalled"),
    ("curl: (28) Operation timed out after 10001 milliseconds", "SockmonConnectStalled"),
    ("HikariPool-1 - Connection is not available, request timed out after 30000ms.",
     "SockmonCloseWaitLeak"),
    ("QueuePool limit of size 5 overflow 10 reached, connection timed out",
     "SockmonCloseWaitLeak"),
    ("FATAL: sorry, too many clients already", None),
    ("tcp连接数过多", None),
    ("1024 worker_connections are not enough", "SockmonDescriptorPressure"),
    ("[12345.6] TCP: request_sock_TCPv6: Possible SYN flooding on port [::]:80. Sending cookies.",
     "SockmonSynBacklog"),
    ("大量TIME_WAIT", "SockmonTimeWaitPressure"),
    ("大量CLOSE_WAIT怎么办", "SockmonCloseWaitLeak"),
    ("timewait", "SockmonTimeWaitPressure"),
    ("net.ipv4.tcp_tw_reuse", "SockmonEphemeralPortPressure"),
    ("tcp_tw_recycle", "SockmonTimeWaitPressure"),
    ("net.core.somaxconn", "SockmonAcceptQueue"),
    ("No route to host", "SockmonConnectFailures"),
    ("99", "SockmonEphemeralPortPressure"),
    ("EADDRINUSE", "SockmonEphemeralPortPressure"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "runbook"), SEEN, ids=lambda it: str(it)[:40])
def test_what_people_see_is_explained(words: str, runbook: str | None) -> None:
    assert [entry.runbook for entry in find(words)] == [runbook]


def test_every_name_finds_its_own_entry() -> None:
    for entry in ENTRIES:
        for name in entry.names:
            assert find(name) == [entry], name
            assert find(f"log: {name}, and so on") == [entry], name


@pytest.mark.parametrize("state", TcpState, ids=lambda state: state.name)
def test_a_state_is_explained_as_every_tool_spells_it(state: TcpState) -> None:
    spellings = {state.name, state.label, state.spelled("ss"), state.name.replace("_", "-")}
    assert {entry.names[0] for word in spellings for entry in find(word)} == {state.name}


def test_every_alert_and_detector_is_explained() -> None:
    for detector in ALL:
        for name in (detector.name, detector.alert):
            assert {entry.runbook for entry in find(name)} == {detector.alert}


def test_every_entry_is_whole() -> None:
    for entry in ENTRIES:
        assert entry.see
        assert entry.what.zh != entry.what
        for language in ("en", "zh"):
            assert all(line.isprintable() for line in lines(entry, language))
        if entry.runbook:
            assert (REPOSITORY / "docs" / "runbooks" / f"{entry.runbook}.md").is_file()


def test_what_is_not_known_leads_to_what_is_most_like_it() -> None:
    assert nearest("conection reset by peer")[0] == "Connection reset by peer"
    assert nearest("no buffer space available")[0] == "receive buffer errors"
    assert nearest("服务器连接数异常")[0] == "too many connections"
    assert nearest("lorem ipsum") == []


def test_nginx_timers_are_not_taken_for_the_kernels() -> None:
    (entry,) = find("upstream timed out (110: Connection timed out) while reading response header")
    assert "nginx's own timers" in entry.what


def test_advice_that_is_wrong_is_called_wrong() -> None:
    wrong = {words: str(find(words)[0].wrong) for words, _ in SEEN}
    assert "removed in Linux 4.12" in wrong["TIME_WAIT 过多"]
    assert "tcp_fin_timeout: is about orphaned FIN_WAIT2" in wrong["TIME_WAIT 过多"]
    assert "is what causes this" in wrong["TCP: time wait bucket table overflow"]


@given(st.text(max_size=200))
def test_any_words_are_answered_or_refused(words: str) -> None:
    for entry in find(words):
        assert entry in ENTRIES
    nearest(words)


def test_what_is_not_known_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def explain(*words: str) -> tuple[int, str, str]:
        return main(["explain", *words], lambda _: pytest.fail("it asks no kernel")), *(
            capsys.readouterr()
        )

    assert explain("conection", "reset", "by", "peer") == (
        1,
        "",
        "sockmon: 'conection reset by peer' is not known; nearest: Connection reset by peer\n",
    )
    status, out, err = explain("\x1b[2J\n" * 1000)
    assert (status, out, err.count("\n"), err.rstrip().isprintable()) == (1, "", 1, True)
    status, out, _ = explain("--lang", "zh")
    assert (status, len(out.splitlines())) == (0, len(ENTRIES))
    assert explain("--lang", "en", "EPIPE")[1].startswith("Broken pipe (EPIPE)\n  The process")
    assert explain("--lang", "zh", "EPIPE")[1].startswith("Broken pipe（EPIPE）\n  进程向")
