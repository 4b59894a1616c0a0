"""All families on /metrics, and what their labels mean: the one place where they are declared.

No address, cookie, inode, PID or client's own port is ever a label value.
"""

import math
from collections.abc import Mapping

from sockmon.detect import registry
from sockmon.export.family import Family
from sockmon.model.ages import AGE_BOUNDS, AGED_STATES
from sockmon.model.connection_events import BOUNDS, FAILURES
from sockmon.model.finding import SEVERITIES
from sockmon.model.limits import TCP_EVENTS as EVENTS
from sockmon.model.owner_sockets import OWNERS_KEPT, OWNERS_SHOWN
from sockmon.model.poll_statistics import DURATION_BUCKETS
from sockmon.model.stale import MENDED_GROUPS_KEPT
from sockmon.model.unix_listeners import LONGEST_PATH, PATHS_SHOWN

#: Words of `series` -> what they mean.
TERMS: Mapping[str, str] = {
    "per namespace": "For the daemon's own network namespace and, with `poll.namespaces: all`, for "
    "at most `poll.top_namespaces` others. Of these only `sockmon_sockets` has zeros: any other "
    "series begins with its first value other than 0, and ends ten minutes after its last. A limit "
    "is shown with its level; levels of TIME_WAIT, ephemeral ports and connection tracking from a "
    "tenth of their limits on",
    "per group": "For each (direction, port) with series of its own, per namespace: the largest "
    "(`ports.top` of them in the daemon's own namespace, `ports.top_per_namespace` in others) and "
    "those of `ports.always_shown`. A port inside `ip_local_port_range` is among them only if it "
    "was listened on for a minute, or if three connections share it. One that is no longer among "
    "them stays ten minutes; there are never more than 4 times as many. All others are in `other`, "
    "one per direction",
    "per event group": "With `events.enabled`, for each (direction, port) of the `events.top` "
    "busiest of a namespace. One that is no longer among them stays until it has been idle for "
    "ten minutes; there are never more than 4 times as many. All others are in `other`, one per "
    "direction. What was counted before a port had series of its own stays in `other`",
}

#: Label -> what it means, and its values.
LABELS: Mapping[str, str] = {
    "netns": "Network namespace: `host` is the daemon's own; `other` stands for those without "
    "series of their own",
    "protocol": "`tcp` or `udp`. An MPTCP connection is one of `tcp`, and its subflows are not "
    "counted",
    "family": "`ipv4` or `ipv6`",
    "state": "TCP state, as in `sockmon count`: `established`, `syn_sent`, `syn_recv`, "
    "`fin_wait1`, `fin_wait2`, `time_wait`, `close`, `close_wait`, `last_ack`, `listen`, "
    "`closing`. UDP has `established` (connected) and `close`. Of `sockmon_alerts`: `pending` or "
    "`firing`",
    "direction": "`inbound`: connections that came in. `outbound`: connections that this host made",
    "port": "The service's port: the local one if inbound, the remote one if outbound; `other` "
    "stands for those without series of their own",
    "scope": "Where the listener can be reached: `any` address, `loopback` only, or an `address`",
    "path": "Name of a Unix socket: a path, or `@` and an abstract name; bytes that are not "
    f"printable ASCII are escaped, and of more than {LONGEST_PATH} characters the end is a hash",
    "pod": "Kubernetes pod; empty if there is none",
    "namespace": "Kubernetes namespace; empty if there is none",
    "container": "Container's name; empty if it only holds a pod's namespaces",
    "owner": "systemd unit, container id or program, at most 128 characters; `@` and a local "
    "address follow where services on one port differ by it. Of `sockmon_owner_sockets`: unit or "
    "container; `other` stands for all others, and for sockets that the kernel tells no cgroup of, "
    "such as those in TIME_WAIT",
    "level": "`low`, `pressure` or `high`, the three values of tcp_mem",
    "event": "The kernel's own name of a TcpExt counter",
    "detector": "Name of a diagnosis, as under `detect` in the configuration",
    "severity": "`warning` or `critical`",
    "older_than": "Seconds, one of a fixed set; a socket is counted under each that it is older "
    "than",
    "component": "A part of sockmon: `detect.` and a detector, `metrics.` and a group of families, "
    "`notify.` and a receiver, `save.` and what is saved, or `alerts`, `diagnosis`, "
    "`history`, `poll`, `processes` (look-ups of owners), `web.sweep`.",
    "reason": "Why a read failed: an errno's name, or a word such as `truncated`; "
    "`bug`: by a mistake of sockmon's. Of `sockmon_connection_failures_total`: `refused`, "
    "`timed_out`, `reset`, `unreachable`, "
    "`abandoned` (the application closed the socket before an answer came), `no_port` (this host "
    "had no free local port) or `other`. Of `sockmon_conntrack_drops_total`: `drop` and "
    "`early_drop` (the table was full), or `insert_failed`",
    "first": "Whose FIN came first: `here` (this host's), `there`, or `both` (they crossed)",
    "by": "Who ended it: `here` (this host, by a reset), `there`, or `timeout`",
    "visibility": "`inside`: polled. `outside`: counted only, not entered. `empty`: without "
    "sockets. `hidden`: not visible to the daemon",
    "version": "sockmon's version",
    "python": "Python's version",
    "alertname": "Name of an alert, such as `SockmonCloseWaitLeak`: one per detector",
    "receiver": "`log`, `alertmanager-N` or `webhook-N`, N counted from 0",
    "le": "Upper bound of a histogram's bucket, in seconds",
}

_DETECTORS = len(registry.ALL)
_NAMESPACE = "1 per namespace"
_GROUP = "1 per group"
_STATES_OF_GROUP = (
    "1 to 11 per group, of UDP 1 or 2: a state that it has once had stays. Of UDP in other "
    "namespaces only the ports that they serve"
)
_STALE = (
    "1 per owner and port with stale sockets, at most 50 per namespace; and, at 0, at most "
    f"{MENDED_GROUPS_KEPT} that had some in the last ten minutes"
)
_OWNERS = "At most 50 per namespace: those nearest to their limits"
_QUEUES = "At most 22 per namespace: the largest 20 groups, and 1 `other` per direction"
_UNIX = (
    f"At most {PATHS_SHOWN} per namespace: the fullest of those at which a connection has waited "
    "in the last ten minutes"
)
_EVENT_GROUP = "1 per event group"
_EVENT_HISTOGRAM = f"{len(BOUNDS) + 3} per namespace and direction that has some"
_LISTENERS = "1 per inbound group, and per port whose queue is more than half full"

SOCKETS = Family(
    "sockmon_sockets",
    "sockets",
    "Sockets by protocol, address family and state; a v4-mapped socket is ipv4.",
    ("netns", "protocol", "family", "state"),
    "26 in the daemon's own namespace; in any other, and for `other`, 11 for each of TCP's address "
    "families and 2 for each of UDP's, if it had a socket in the last ten minutes",
)
PORT_SOCKETS = Family(
    "sockmon_port_sockets",
    "sockets",
    "Sockets by the port they belong to: a listener's own, or the remote one. A UDP socket that is "
    "not connected is a listener.",
    ("netns", "protocol", "direction", "port", "state"),
    _STATES_OF_GROUP,
)
PORT_RECEIVE_QUEUE = Family(
    "sockmon_port_receive_queue_bytes",
    "bytes",
    "Bytes that applications have not read yet.",
    ("netns", "protocol", "direction", "port"),
    _GROUP,
)
PORT_SEND_QUEUE = Family(
    "sockmon_port_send_queue_bytes",
    "bytes",
    "Bytes that peers have not acknowledged yet; of UDP, that have not been sent.",
    ("netns", "protocol", "direction", "port"),
    _GROUP,
)
ACCEPT_QUEUE_CONNECTIONS = Family(
    "sockmon_accept_queue_connections",
    "connections",
    "Connections waiting for accept(), at the port's fullest listener.",
    ("netns", "port"),
    _LISTENERS,
)
ACCEPT_QUEUE_LIMIT = Family(
    "sockmon_accept_queue_limit",
    "connections",
    "Connections that the same listener's accept queue may hold.",
    ("netns", "port"),
    _LISTENERS,
)
ACCEPT_QUEUE_DROPS = Family(
    "sockmon_accept_queue_drops",
    "connections",
    "Connections that the kernel dropped at the port's listeners.",
    ("netns", "port"),
    _LISTENERS,
    "counter",
)
LISTENING = Family(
    "sockmon_listening",
    "0 or 1",
    "Whether a port is listened on; 0 for ten minutes after its last listener has gone.",
    ("netns", "protocol", "port", "scope"),
    "1 per port and scope, at most 2 times `ports.top` (in other namespaces "
    "`ports.top_per_namespace`): the lowest ports, but for those inside `ip_local_port_range` that "
    "are no group either",
)
UNIX_ACCEPT_QUEUE_CONNECTIONS = Family(
    "sockmon_unix_accept_queue_connections",
    "connections",
    "Connections waiting for accept() at a listening Unix socket; of several the fullest.",
    ("netns", "path"),
    _UNIX,
)
UNIX_ACCEPT_QUEUE_LIMIT = Family(
    "sockmon_unix_accept_queue_limit",
    "connections",
    "Connections that the same listener's accept queue may hold.",
    ("netns", "path"),
    _UNIX,
)
UDP_DROPS = Family(
    "sockmon_udp_drops",
    "datagrams",
    "Datagrams that the kernel dropped because the receive buffer of their UDP socket was full.",
    ("netns", "port"),
    _LISTENERS,
    "counter",
)
OWNER_SOCKETS = Family(
    "sockmon_owner_sockets",
    "sockets",
    "TCP sockets by the systemd unit or container whose processes made them.",
    ("netns", "owner", "state"),
    f"1 to 11 per owner: at most {OWNERS_SHOWN} owners per namespace, those with most sockets; "
    f"with those that were among them in the last ten minutes at most {OWNERS_KEPT}; and `other`. "
    "In other namespaces only if there are several owners",
)
EPHEMERAL_PORTS_USABLE = Family(
    "sockmon_ephemeral_ports_usable",
    "ports",
    "Ports that connect() can choose from: the range less reserved and bound ones.",
    ("netns",),
    _NAMESPACE,
)
EPHEMERAL_PORTS_USED = Family(
    "sockmon_ephemeral_ports_used_by_busiest_destination",
    "ports",
    "Usable ports in use towards the destination (source, address, port) that uses most.",
    ("netns",),
    _NAMESPACE,
)
EPHEMERAL_PORTS_HELD = Family(
    "sockmon_ephemeral_ports_held_by_bind",
    "ports",
    "Ports of the range held by bind(), lost for every destination. Not before Linux 6.8, which "
    "does not list them.",
    ("netns",),
    _NAMESPACE,
)
EPHEMERAL_PORTS_EXHAUSTION = Family(
    "sockmon_ephemeral_ports_exhaustion_seconds",
    "seconds",
    "Forecast until a destination has no port left; +Inf when use is not growing.",
    ("netns",),
    _NAMESPACE,
    empty=math.inf,
)
PORT_GROUPS_AGGREGATED = Family(
    "sockmon_port_groups_aggregated",
    "groups",
    'Groups of (direction, port) inside port="other", of TCP.',
    ("netns",),
    _NAMESPACE,
)
TIME_WAIT_BUCKETS = Family(
    "sockmon_time_wait_buckets",
    "sockets",
    "TIME_WAIT and orphaned FIN_WAIT2 sockets, which share tcp_max_tw_buckets; by sockstat.",
    ("netns",),
    _NAMESPACE,
)
TIME_WAIT_BUCKETS_LIMIT = Family(
    "sockmon_time_wait_buckets_limit", "sockets", "tcp_max_tw_buckets.", ("netns",), _NAMESPACE
)
ORPHAN_SOCKETS = Family(
    "sockmon_orphan_sockets", "sockets", "Sockets that no process holds any more, on the host."
)
ORPHAN_SOCKETS_LIMIT = Family("sockmon_orphan_sockets_limit", "sockets", "tcp_max_orphans.")
TCP_MEMORY = Family(
    "sockmon_tcp_memory_bytes", "bytes", "Memory that TCP sockets use, on the whole host."
)
TCP_MEMORY_LIMIT = Family("sockmon_tcp_memory_limit_bytes", "bytes", "tcp_mem.", ("level",), "3")
CONNTRACK_ENTRIES = Family(
    "sockmon_conntrack_entries", "connections", "Tracked connections.", ("netns",), _NAMESPACE
)
CONNTRACK_ENTRIES_LIMIT = Family(
    "sockmon_conntrack_entries_limit", "connections", "nf_conntrack_max.", ("netns",), _NAMESPACE
)
CONNTRACK_DROPS = Family(
    "sockmon_conntrack_drops",
    "packets",
    "Packets that connection tracking dropped, and entries that it removed early to make room "
    "(early_drop), as the kernel counts them.",
    ("netns", "reason"),
    "3 per namespace, where the kernel has /proc/net/stat/nf_conntrack",
    "counter",
    kernels=True,
)
TCP_EVENTS = Family(
    "sockmon_tcp_events",
    "events",
    "The kernel's TcpExt counters, by their own names.",
    ("netns", "event"),
    f"{len(EVENTS)} per namespace; TW only in the daemon's own",
    "counter",
    kernels=True,
)
TCP_OPENS = Family(
    "sockmon_tcp_opens",
    "connections",
    "Connections that were opened, failed attempts included: outbound by connect() (ActiveOpens), "
    "inbound by a peer (PassiveOpens).",
    ("netns", "direction"),
    "2 per namespace",
    "counter",
    kernels=True,
)
TCP_ATTEMPT_FAILS = Family(
    "sockmon_tcp_attempt_fails",
    "connections",
    "Attempts to connect, of either side, that failed: refused or not answered (AttemptFails).",
    ("netns",),
    _NAMESPACE,
    "counter",
    kernels=True,
)
TCP_ESTABLISHED_RESETS = Family(
    "sockmon_tcp_established_resets",
    "connections",
    "Connections in ESTABLISHED or CLOSE_WAIT that ended by a reset (EstabResets).",
    ("netns",),
    _NAMESPACE,
    "counter",
    kernels=True,
)
TCP_SEGMENTS_SENT = Family(
    "sockmon_tcp_segments_sent",
    "segments",
    "Segments sent, but for those that were only retransmitted (OutSegs).",
    ("netns",),
    _NAMESPACE,
    "counter",
    kernels=True,
)
TCP_SEGMENTS_RETRANSMITTED = Family(
    "sockmon_tcp_segments_retransmitted",
    "segments",
    "Segments sent again (RetransSegs).",
    ("netns",),
    _NAMESPACE,
    "counter",
    kernels=True,
)
TCP_RESETS_SENT = Family(
    "sockmon_tcp_resets_sent",
    "segments",
    "Segments sent with RST (OutRsts).",
    ("netns",),
    _NAMESPACE,
    "counter",
    kernels=True,
)
#: Counter of /proc/net/snmp -> its family, and the label after netns, if any.
TCP_TRAFFIC: Mapping[str, tuple[Family, tuple[str, ...]]] = {
    "ActiveOpens": (TCP_OPENS, ("outbound",)),
    "PassiveOpens": (TCP_OPENS, ("inbound",)),
    "AttemptFails": (TCP_ATTEMPT_FAILS, ()),
    "EstabResets": (TCP_ESTABLISHED_RESETS, ()),
    "OutSegs": (TCP_SEGMENTS_SENT, ()),
    "RetransSegs": (TCP_SEGMENTS_RETRANSMITTED, ()),
    "OutRsts": (TCP_RESETS_SENT, ()),
}
AGED_SOCKETS = Family(
    "sockmon_aged_sockets",
    "sockets",
    "Sockets that have been for more than older_than seconds in a state that a healthy one "
    "leaves soon.",
    ("netns", "state", "older_than"),
    f"{len(AGED_STATES) * len(AGE_BOUNDS)} per namespace: {len(AGED_STATES)} states, "
    f"{len(AGE_BOUNDS)} ages",
)
CLOSE_WAIT_STALE = Family(
    "sockmon_close_wait_stale_sockets",
    "sockets",
    "CLOSE_WAIT sockets that the application should have closed.",
    ("netns", "direction", "port", "owner"),
    _STALE,
)
CLOSE_WAIT_OLDEST = Family(
    "sockmon_close_wait_oldest_seconds",
    "seconds",
    "Age of the oldest CLOSE_WAIT socket; 0 when there is none.",
    ("netns",),
    _NAMESPACE,
)
CLOSE_WAIT_UNREAD = Family(
    "sockmon_close_wait_unread_bytes",
    "bytes",
    "Bytes received and never read, in stale CLOSE_WAIT sockets.",
    ("netns", "direction", "port"),
    _STALE,
)
#: What detectors count themselves.
COUNTED = tuple(
    Family(
        detector.counted.metric,
        "sockets",
        detector.counted.help,
        ("netns", "direction", "port"),
        _QUEUES,
    )
    for detector in registry.ALL
    if detector.counted is not None
)
OWNER_DESCRIPTORS = Family(
    "sockmon_owner_descriptors",
    "descriptors",
    "File descriptors in use by that process of an owner which is nearest to its limit; of owners "
    "that findings name, and of those over half of their limit.",
    ("netns", "owner"),
    _OWNERS,
)
OWNER_DESCRIPTORS_LIMIT = Family(
    "sockmon_owner_descriptors_limit",
    "descriptors",
    "The same process's soft limit of file descriptors.",
    ("netns", "owner"),
    _OWNERS,
)
FINDINGS = Family(
    "sockmon_findings",
    "findings",
    "Findings of the last poll; a detector that could not judge has no sample.",
    ("netns", "detector", "severity"),
    f"{_DETECTORS * len(SEVERITIES)} per namespace: {_DETECTORS} detectors, "
    f"{len(SEVERITIES)} severities",
)
POLLS = Family("sockmon_polls", "polls", "Polls, failed ones included.", kind="counter")
POLL_ERRORS = Family(
    "sockmon_poll_errors",
    "errors",
    "Reads that the kernel refused or that could not be trusted.",
    ("netns", "reason"),
    "1 per reason seen, per namespace and for `other`",
    "counter",
)
CONNECTIONS_OPENED = Family(
    "sockmon_connections_opened",
    "connections",
    "Connections that were established, those that no poll has seen included.",
    ("netns", "direction", "port"),
    _EVENT_GROUP,
    "counter",
)
CONNECTION_FAILURES = Family(
    "sockmon_connection_failures",
    "connections",
    "Connections that did not come about.",
    ("netns", "direction", "port", "reason"),
    f"{len(FAILURES)} per event group",
    "counter",
)
CONNECTIONS_CLOSED = Family(
    "sockmon_connections_closed",
    "connections",
    "Connections that were closed with a FIN, by whose came first.",
    ("netns", "direction", "port", "first"),
    "3 per event group",
    "counter",
)
CONNECTIONS_ABORTED = Family(
    "sockmon_connections_aborted",
    "connections",
    "Connections that ended with a reset before either end had closed, or because the other end "
    "did not answer any more.",
    ("netns", "direction", "port", "by"),
    "3 per event group",
    "counter",
)
CLOSE_WAIT_DURATION = Family(
    "sockmon_close_wait_duration_seconds",
    "seconds",
    "Time from the other end's FIN until the application on this host closed.",
    ("netns", "direction", "le"),
    _EVENT_HISTOGRAM,
    "histogram",
)
CONNECTION_DURATION = Family(
    "sockmon_connection_duration_seconds",
    "seconds",
    "Time from when a connection was established until its socket ended.",
    ("netns", "direction", "le"),
    _EVENT_HISTOGRAM,
    "histogram",
)
CONNECT_DURATION = Family(
    "sockmon_connect_duration_seconds",
    "seconds",
    "Time from the first SYN until an outbound connection was established.",
    ("netns", "direction", "le"),
    _EVENT_HISTOGRAM,
    "histogram",
)
EVENTS_UNATTRIBUTED = Family(
    "sockmon_events_unattributed",
    "connections",
    "Connections that ended and whose opening was not seen: their direction may be guessed.",
    kind="counter",
)
EVENTS_MEMORY = Family(
    "sockmon_events_memory_used_ratio",
    "ratio",
    "How full the memory is in which the kernel counts connections by namespace and port.",
)
POLL_DURATION = Family(
    "sockmon_poll_duration_seconds",
    "seconds",
    "How long a whole poll took.",
    ("le",),
    f"{len(DURATION_BUCKETS) + 3}: {len(DURATION_BUCKETS) + 1} buckets, `_count` and `_sum`",
    "histogram",
)
POLL_LAST_SUCCESS = Family(
    "sockmon_poll_last_success_timestamp_seconds",
    "seconds",
    "When the namespace's TCP sockets were last read in full.",
    ("netns",),
    _NAMESPACE,
)
NAMESPACE_INFO = Family(
    "sockmon_namespace_info",
    "1",
    "What a container engine calls a network namespace: to be joined with other series by netns.",
    ("netns", "pod", "namespace", "container"),
    "1 per namespace of a container, where its engine's files can be read: as root",
)
NAMESPACES = Family(
    "sockmon_namespaces",
    "namespaces",
    "Network namespaces other than the daemon's own, by what is seen of them.",
    ("visibility",),
    "4, with `poll.namespaces: all`",
)
NAMESPACES_AGGREGATED = Family(
    "sockmon_namespaces_aggregated",
    "namespaces",
    'Network namespaces inside netns="other".',
    (),
    "1, with `poll.namespaces: all`",
)
COMPONENT_FAILURES = Family(
    "sockmon_component_failures",
    "failures",
    "Failures of a part of sockmon by a mistake of its own, or of saving; the others go on.",
    ("component",),
    "1 per component that has failed",
    "counter",
)
BUILD_INFO = Family("sockmon_build_info", "1", "What is running.", ("version", "python"))
RELOAD_SUCCESSFUL = Family(
    "sockmon_config_last_reload_successful",
    "0 or 1",
    "Whether the last reading of the configuration succeeded.",
)
RELOAD_SUCCEEDED_AT = Family(
    "sockmon_config_last_reload_success_timestamp_seconds",
    "seconds",
    "When the configuration in use was read.",
)
ALERTS = Family(
    "sockmon_alerts",
    "alerts",
    "Alerts that are pending or firing.",
    ("alertname", "severity", "state"),
    f"At most {_DETECTORS * len(SEVERITIES) * 2}: only those that there are",
)
NOTIFICATIONS = Family(
    "sockmon_notifications",
    "notifications",
    "Notifications sent, failed ones included.",
    ("receiver",),
    "1 per receiver",
    "counter",
)
NOTIFICATIONS_FAILED = Family(
    "sockmon_notifications_failed",
    "notifications",
    "Notifications that their receiver did not accept.",
    ("receiver",),
    "1 per receiver",
    "counter",
)

#: In the order in which they are declared.
ALL: tuple[Family, ...] = tuple(
    family
    for declared in list(globals().values())
    for family in (declared if declared is COUNTED else (declared,))
    if isinstance(family, Family)
)

#: What prometheus_client itself exports of the daemon's process.
PROCESS = (
    Family("process_virtual_memory_bytes", "bytes", "Virtual memory size in bytes."),
    Family("process_resident_memory_bytes", "bytes", "Resident memory size in bytes."),
    Family(
        "process_start_time_seconds",
        "seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
    Family(
        "process_cpu_seconds",
        "seconds",
        "Total user and system CPU time spent in seconds.",
        kind="counter",
    ),
    Family("process_open_fds", "descriptors", "Number of open file descriptors."),
    Family("process_max_fds", "descriptors", "Maximum number of open file descriptors."),
)
