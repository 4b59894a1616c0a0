"""/proc says what it should, or a ProcError says what it did not."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockmon.kernel import procfs
from sockmon.kernel.errors import HiddenSettingsError, ProcError
from sockmon.model.limits import (
    KernelLimits,
    PortRange,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)
from tests.recorded import MIXED, QUIET
from tests.unit.users import as_nobody

PAGE = os.sysconf("SC_PAGE_SIZE")

SOCKSTAT = """\
sockets: used 345
TCP: inuse 12 orphan 3 tw 45 alloc 20 mem 7
UDP: inuse 7 mem 2
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
"""
NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops TW TCPTimeouts NewestOfAll
TcpExt: 1 2 3 4 5 6
IpExt: InNoRoutes InOctets
IpExt: 7 8
MPTcpExt: MPCapableSYNRX
MPTcpExt: 9
"""
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails NewestOfAll
Tcp: 1 200 120000 -1 10 11 12 13
Udp: InDatagrams NoPorts RcvbufErrors MemErrors
Udp: 1 2 3 4
"""
SNMP6 = """\
Ip6InReceives                   	9
Udp6InDatagrams                 	10
Udp6RcvbufErrors                	20
"""
CONNTRACK = """\
entries  clashres found new invalid insert insert_failed drop early_drop icmp_error  expect_new
00000011  00000000 00000000 00000000 00000001 00000000 00000002 00000010 0000000a 00000000  00000000
00000011  00000000 00000000 00000000 00000001 00000000 00000001 00000000 00000001 00000000  00000000
"""
#: A whole /proc, as far as sockmon reads it.
WHOLE = {
    "thread-self/net/sockstat": SOCKSTAT,
    "thread-self/net/sockstat6": "TCP6: inuse 3\n",
    "thread-self/net/netstat": NETSTAT,
    "thread-self/net/snmp": SNMP,
    "thread-self/net/snmp6": SNMP6,
    "thread-self/net/stat/nf_conntrack": CONNTRACK,
    "sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "sys/net/ipv4/ip_local_reserved_ports": "8080,9000-9010\n",
    "sys/net/ipv4/tcp_tw_reuse": "2\n",
    "sys/net/ipv4/tcp_tw_reuse_delay": "1500\n",
    "sys/net/ipv4/tcp_timestamps": "1\n",
    "sys/net/ipv4/tcp_mem": "10\t20\t30\n",
    "sys/net/ipv4/tcp_max_tw_buckets": "131072\n",
    "sys/net/ipv4/tcp_max_orphans": "65536\n",
    "sys/net/ipv4/tcp_fin_timeout": "61\n",
    "sys/net/ipv4/tcp_syn_retries": "6\n",
    "sys/net/ipv4/tcp_syn_linear_timeouts": "4\n",
    "sys/net/ipv4/tcp_synack_retries": "5\n",
    "sys/net/ipv4/tcp_max_syn_backlog": "512\n",
    "sys/net/ipv4/tcp_syncookies": "1\n",
    "sys/net/core/somaxconn": "4096\n",
    "sys/net/mptcp/enabled": "1\n",
    "sys/net/netfilter/nf_conntrack_count": "17\n",
    "sys/net/netfilter/nf_conntrack_max": "262144\n",
}
#: Files that a child namespace, an older kernel or one without conntrack has not.
OPTIONAL = {
    "sys/net/ipv4/tcp_mem": "tcp_memory",
    "sys/net/ipv4/tcp_max_orphans": "orphan_limit",
    "sys/net/netfilter/nf_conntrack_count": "conntrack_entries",
    "sys/net/netfilter/nf_conntrack_max": "conntrack_limit",
    "thread-self/net/stat/nf_conntrack": "conntrack_drops",
    "thread-self/net/snmp": "traffic",
}
#: Files that every kernel has, and the part of KernelLimits that each is needed for.
NEEDED = {
    "thread-self/net/sockstat": "sockstat",
    "thread-self/net/netstat": "events",
    "sys/net/ipv4/ip_local_port_range": "port_range",
    "sys/net/ipv4/ip_local_reserved_ports": "port_range",
    "sys/net/ipv4/tcp_tw_reuse": "time_wait_reuse",
    "sys/net/ipv4/tcp_timestamps": "time_wait_reuse",
    "sys/net/ipv4/tcp_max_tw_buckets": "time_wait_limit",
    "sys/net/ipv4/tcp_fin_timeout": "settings",
    "sys/net/ipv4/tcp_syn_retries": "settings",
    "sys/net/ipv4/tcp_synack_retries": "settings",
    "sys/net/ipv4/tcp_max_syn_backlog": "settings",
}
#: Files that older kernels, or some builds, have not, and whose absence has a meaning.
DEFAULTED = {
    "thread-self/net/snmp6": "datagrams",
    "sys/net/ipv4/tcp_tw_reuse_delay": "time_wait_reuse",
    "sys/net/ipv4/tcp_syn_linear_timeouts": "settings",
    "sys/net/ipv4/tcp_syncookies": "settings",
    "sys/net/core/somaxconn": "settings",
}
PARTS = NEEDED | OPTIONAL | DEFAULTED

Reader = Callable[[Path], object]
READERS: list[tuple[Reader, str]] = [
    (procfs.read_sockstat, "thread-self/net/sockstat"),
    (procfs.read_events, "thread-self/net/netstat"),
    (procfs.read_snmp, "thread-self/net/snmp"),
    (procfs.read_snmp, "thread-self/net/snmp6"),
    (procfs.read_port_range, "sys/net/ipv4/ip_local_port_range"),
    (procfs.read_port_range, "sys/net/ipv4/ip_local_reserved_ports"),
    (procfs.read_time_wait_reuse, "sys/net/ipv4/tcp_tw_reuse"),
    (procfs.read_time_wait_reuse, "sys/net/ipv4/tcp_tw_reuse_delay"),
    (procfs.read_time_wait_reuse, "sys/net/ipv4/tcp_timestamps"),
    (procfs.read_tcp_settings, "sys/net/ipv4/tcp_fin_timeout"),
    (procfs.read_tcp_settings, "sys/net/ipv4/tcp_syncookies"),
    (procfs.read_tcp_memory, "sys/net/ipv4/tcp_mem"),
    (procfs.read_time_wait_limit, "sys/net/ipv4/tcp_max_tw_buckets"),
    (procfs.read_orphan_limit, "sys/net/ipv4/tcp_max_orphans"),
    (procfs.read_conntrack_entries, "sys/net/netfilter/nf_conntrack_count"),
    (procfs.read_conntrack_limit, "sys/net/netfilter/nf_conntrack_max"),
]
every_reader = pytest.mark.parametrize(("read", "name"), READERS, ids=[n for _, n in READERS])


@pytest.fixture
def proc() -> Iterator[Path]:
    """A /proc of files that can be changed, and that nobody can reach too."""
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        for name, text in WHOLE.items():
            file = Path(temporary, "proc", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        yield Path(temporary, "proc")


class TestParsing:
    def test_sockstat(self) -> None:
        found = procfs.parse_sockstat(SOCKSTAT)
        assert (found.in_use, found.orphans, found.time_wait) == (12, 3, 45)
        assert found.memory_bytes == 7 * PAGE

    def test_sockstat_by_name_wherever_a_number_stands(self) -> None:
        moved = procfs.parse_sockstat("TCP: new 1 mem 7 tw 45 alloc 20 inuse 12 orphan 3\n")
        assert moved == procfs.parse_sockstat(SOCKSTAT)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "TCP6: inuse 1\n",
            "TCP:\n",
            "TCP: inuse 12 orphan 3 tw 45 alloc 20 mem\n",
            "TCP: inuse 12 orphan 3 alloc 20 mem 7\n",
            "TCP: inuse twelve orphan 3 tw 45 alloc 20 mem 7\n",
        ],
    )
    def test_sockstat_that_is_none(self, text: str) -> None:
        with pytest.raises((ValueError, KeyError)):
            procfs.parse_sockstat(text)

    def test_events_that_this_kernel_has(self) -> None:
        assert procfs.parse_events(NETSTAT) == {
            "ListenOverflows": 2,
            "ListenDrops": 3,
            "SyncookiesSent": 1,
            "TW": 4,
            "TCPTimeouts": 5,
        }

    def test_events_by_name_wherever_a_column_stands(self) -> None:
        moved = "IpExt: A\nIpExt: 1\nTcpExt: TW Unknown ListenDrops\nTcpExt: 4 99 3\n"
        assert procfs.parse_events(moved) == {"TW": 4, "ListenDrops": 3}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "IpExt: A\nIpExt: 1\n",
            "TcpExt: TW\n",
            "TcpExt: TW TCPTimeouts\nTcpExt: 1\n",
            "TcpExt: TW\nTcpExt: 1 2\n",
            "TcpExt: TW\nTcpExt: one\n",
            "TcpExt: TW\nIpExt: 1\n",
        ],
    )
    def test_events_that_are_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            procfs.parse_events(text)

    def test_port_range(self) -> None:
        assert procfs.parse_port_pair("32768\t60999\n") == (32768, 60999)
        assert procfs.parse_port_pair("0 65535") == (0, 65535)
        assert procfs.parse_port_pair("5 5") == (5, 5)

    @pytest.mark.parametrize(
        "text", ["", "1", "1 2 3", "60999 32768", "0 65536", "-1 5", "a b", "1.0 2.0"]
    )
    def test_port_range_that_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            procfs.parse_port_pair(text)

    @pytest.mark.parametrize(
        ("text", "ports"),
        [
            ("\n", ()),
            ("", ()),
            ("8080\n", ((8080, 8080),)),
            ("8080,9000-9010,65535\n", ((8080, 8080), (9000, 9010), (65535, 65535))),
        ],
    )
    def test_reserved_ports(self, text: str, ports: tuple[tuple[int, int], ...]) -> None:
        assert procfs.parse_port_list(text) == ports

    @pytest.mark.parametrize(
        "text", ["a", "1-2-3", "-5", "1-b", "8080 9090", "70000", "9010-9000", "5--3"]
    )
    def test_reserved_ports_that_are_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            procfs.parse_port_list(text)

    def test_tcp_memory(self) -> None:
        expected = TcpMemoryLimits(10 * PAGE, 20 * PAGE, 30 * PAGE)
        assert procfs.parse_tcp_memory("10\t20\t30\n") == expected

    @pytest.mark.parametrize("text", ["", "10", "10 20", "10 20 30 40", "a b c"])
    def test_tcp_memory_that_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            procfs.parse_tcp_memory(text)


class TestReading:
    def test_a_whole_proc(self, proc: Path) -> None:
        assert procfs.read_limits(proc) == (
            KernelLimits(
                sockstat=procfs.parse_sockstat(SOCKSTAT),
                time_wait_limit=131072,
                orphan_limit=65536,
                tcp_memory=TcpMemoryLimits(10 * PAGE, 20 * PAGE, 30 * PAGE),
                conntrack_entries=17,
                conntrack_limit=262144,
                conntrack_drops={"drop": 16, "early_drop": 11, "insert_failed": 3},
                port_range=PortRange(32768, 60999, ((8080, 8080), (9000, 9010))),
                time_wait_reuse=TimeWaitReuse(2, 1500, timestamps=True),
                settings=TcpSettings(
                    fin_timeout=61,
                    syn_retries=6,
                    syn_linear_timeouts=4,
                    synack_retries=5,
                    max_syn_backlog=512,
                    somaxconn=4096,
                    syncookies=1,
                ),
                events=procfs.parse_events(NETSTAT),
                traffic={"ActiveOpens": 10, "PassiveOpens": 11, "AttemptFails": 12},
                datagrams={"InDatagrams": 11, "RcvbufErrors": 23, "MemErrors": 4},
            ),
            [],
        )

    @pytest.mark.parametrize("recording", [MIXED, QUIET], ids=lambda path: path.name)
    def test_what_a_kernel_wrote(self, recording: Path) -> None:
        limits, errors = procfs.read_limits(recording / "proc")
        assert errors == []
        assert None not in (limits.sockstat, limits.port_range, limits.time_wait_reuse)
        assert limits.events
        assert len(limits.events) > 15
        assert procfs.has_ipv6(recording / "proc")

    def test_reads_every_file_that_is_recorded_and_no_other(self) -> None:
        assert set(WHOLE) == set(procfs.FILES)

    @pytest.mark.parametrize(("name", "part"), OPTIONAL.items())
    def test_an_optional_file_that_is_missing_is_no_error(
        self, proc: Path, name: str, part: str
    ) -> None:
        whole, _ = procfs.read_limits(proc)
        (proc / name).unlink()
        limits, errors = procfs.read_limits(proc)
        assert (getattr(whole, part) is None, getattr(limits, part), errors) == (False, None, [])

    def test_an_older_kernel_waits_a_second_before_it_takes_a_port_over(self, proc: Path) -> None:
        (proc / "sys/net/ipv4/tcp_tw_reuse_delay").unlink()
        assert procfs.read_time_wait_reuse(proc).delay_ms == 1000

    def test_an_older_kernel_doubles_every_wait_for_an_answer(self, proc: Path) -> None:
        (proc / "sys/net/ipv4/tcp_syn_linear_timeouts").unlink()
        assert procfs.read_tcp_settings(proc).syn_linear_timeouts == 0

    def test_a_kernel_built_without_syncookies_sends_none(self, proc: Path) -> None:
        (proc / "sys/net/ipv4/tcp_syncookies").unlink()
        assert procfs.read_tcp_settings(proc).syncookies == 0

    def test_a_user_namespace_before_linux_6_3_shows_no_somaxconn(self, proc: Path) -> None:
        whole, _ = procfs.read_limits(proc)
        (proc / "sys/net/core/somaxconn").unlink()
        limits, errors = procfs.read_limits(proc)
        assert whole.settings is not None
        assert (limits.settings, errors) == (replace(whole.settings, somaxconn=None), [])

    def test_timestamps_may_be_off(self, proc: Path) -> None:
        (proc / "sys/net/ipv4/tcp_timestamps").write_text("0\n")
        assert not procfs.read_time_wait_reuse(proc).timestamps

    @pytest.mark.parametrize(("name", "part"), NEEDED.items())
    def test_a_needed_file_that_is_missing_costs_its_own_part_alone(
        self, proc: Path, name: str, part: str
    ) -> None:
        whole, _ = procfs.read_limits(proc)
        (proc / name).unlink()
        limits, (error,) = procfs.read_limits(proc)
        assert (error.reason, error.operation) == ("ENOENT", f"read of /proc/{name}")
        lost = {p for p in KernelLimits.__slots__ if getattr(limits, p) != getattr(whole, p)}
        assert lost == {part}
        assert getattr(limits, part) is None

    @pytest.mark.parametrize(("name", "part"), PARTS.items())
    def test_rubbish_costs_its_own_part_alone(self, proc: Path, name: str, part: str) -> None:
        whole, _ = procfs.read_limits(proc)
        (proc / name).write_bytes(b"\xff\0rubbish")
        limits, (error,) = procfs.read_limits(proc)
        assert (error.reason, error.operation) == ("malformed", f"read of /proc/{name}")
        lost = {p for p in KernelLimits.__slots__ if getattr(limits, p) != getattr(whole, p)}
        of_one_file = {"traffic", "datagrams"}
        assert lost == (of_one_file if part in of_one_file else {part})

    @every_reader
    @settings(
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(text=st.binary() | st.text("0123456789 ,-_\nTCP:", max_size=40).map(str.encode))
    def test_anything_at_all_is_read_or_malformed(
        self, proc: Path, read: Reader, name: str, text: bytes
    ) -> None:
        (proc / name).write_bytes(text)
        reason = "malformed"
        try:
            read(proc)
        except ProcError as error:
            reason = error.reason
        assert reason == "malformed"

    def test_a_line_without_a_number_it_should_have_is_malformed(self, proc: Path) -> None:
        (proc / "thread-self/net/sockstat").write_text("TCP: inuse 12 orphan 3 alloc 20 mem 7\n")
        with pytest.raises(ProcError) as caught:
            procfs.read_sockstat(proc)
        assert (caught.value.reason, "tw" in str(caught.value)) == ("malformed", True)

    @every_reader
    def test_a_number_of_too_many_digits_is_malformed(
        self, proc: Path, read: Reader, name: str
    ) -> None:
        (proc / name).write_text("9" * 10_000)
        with pytest.raises(ProcError) as caught:
            read(proc)
        assert caught.value.reason == "malformed"

    @every_reader
    def test_what_may_not_be_read_is_an_error_even_if_optional(
        self, proc: Path, read: Reader, name: str
    ) -> None:
        (proc / name).chmod(0)
        with as_nobody(), pytest.raises(ProcError) as caught:
            read(proc)
        assert (caught.value.reason, caught.value.operation) == ("EACCES", f"read of /proc/{name}")

    @every_reader
    def test_a_directory_in_its_place_is_an_error(
        self, proc: Path, read: Reader, name: str
    ) -> None:
        (proc / name).unlink()
        (proc / name).mkdir()
        with pytest.raises(ProcError) as caught:
            read(proc)
        assert caught.value.reason == "EISDIR"

    def test_a_directory_that_vanished_costs_what_was_in_it(self, proc: Path) -> None:
        (proc / "thread-self").rename(proc / "gone")
        limits, errors = procfs.read_limits(proc)
        assert [error.reason for error in errors] == ["ENOENT", "ENOENT"]
        assert (limits.sockstat, limits.events) == (None, None)
        assert limits.time_wait_limit == 131072
        assert procfs.has_ipv6(proc)  # for all that is known: an IPv4 alone would look whole

    def test_no_proc_at_all_is_errors_and_nothing_else(self, tmp_path: Path) -> None:
        limits, errors = procfs.read_limits(tmp_path / "proc")
        assert limits == KernelLimits(settings_hidden=True)
        assert [error.reason for error in errors] == ["ENOENT"]
        assert isinstance(errors[0], HiddenSettingsError)

    def test_an_error_names_the_file_wherever_a_recording_of_proc_is(self, tmp_path: Path) -> None:
        for directory in (tmp_path / "proc", tmp_path / "proc" / "recordings" / "proc"):
            with pytest.raises(ProcError) as caught:
                procfs.read_sockstat(directory)
            assert caught.value.operation == "read of /proc/thread-self/net/sockstat"

    def test_a_kernel_that_has_no_ipv6_says_so_by_a_missing_file(self, proc: Path) -> None:
        assert procfs.has_ipv6(proc)
        (proc / "thread-self/net/sockstat6").unlink()
        assert not procfs.has_ipv6(proc)

    def test_a_kernel_that_has_no_mptcp_says_so_by_a_missing_file(self, proc: Path) -> None:
        assert procfs.has_mptcp(proc)
        (proc / "sys/net/mptcp/enabled").unlink()
        assert not procfs.has_mptcp(proc)

    def test_a_file_that_may_not_be_seen_is_no_word_against_ipv6(self, proc: Path) -> None:
        """Else its sockets would be missing, and nothing would say so."""
        (proc / "thread-self/net").chmod(0)
        try:
            with as_nobody():
                assert procfs.has_ipv6(proc)
        finally:
            (proc / "thread-self/net").chmod(0o755)
