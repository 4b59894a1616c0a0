"""Observations as a daemon would answer them: plain ones, and any at all."""

from typing import Any

from hypothesis import strategies as st

from sockmon.client.parse import read
from sockmon.client.snapshot import Row, Snapshot
from sockmon.model.finding import PURPOSES, UNITS, Finding
from sockmon.model.moment import Moment
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.top.grouping import grouped
from sockmon.top.scene import GROUPINGS, Grouped, Scene, Sighting

Json = dict[str, Any]

#: One instant: the reader's monotonic clock, and everybody's wall clock.
NOW = Moment(5_000.0, 1_700_000_000.0)
LABELS = [str(state.label) for state in TcpState]


def states(**counts: int) -> Json:
    return {**dict.fromkeys(LABELS, 0), **counts}


def group(port: int | str, direction: str = "inbound", **counts: int) -> Json:
    return {"direction": direction, "port": port, "states": counts}


def finding(severity: str = "warning", port: int | None = 10000, **others: Any) -> Json:
    """A leak, by a process that the daemon has seen."""
    look = {"line": "ss -tnpo state close-wait", "where": "namespace", "effect": "reads"}
    owner = {"name": "shop", "pid": 4711, "unit": None, "fds": 10, "fd_limit": 1024}
    return {
        "detector": "close_wait_leak",
        "severity": severity,
        "netns": "host",
        "subject": {"direction": "inbound", "port": port, "path": None, "owner": owner},
        "value": 12.0,
        "limit": 10.0,
        "summary": "shop has not closed 12 connections",
        "critical_because": "it still grows" if severity == "critical" else None,
        "deadline": None,
        "cause": None,
        "evidence": {
            "oldest": {"value": 61.0, "unit": "seconds"},
            "peers": {"parts": [{"name": "192.0.2.1", "value": 12, "unit": "sockets"}]},
        },
        "owners": [owner],
        "advice": [
            {"purpose": "fix", "text": "shop must close these sockets.", "command": None},
            {"purpose": "look", "text": "List the sockets:", "command": look},
        ],
        **others,
    }


def namespace(at: float = NOW.wall, **others: Any) -> Json:
    """A namespace of which everything was read at one time."""
    return {
        "netns": "host",
        "tcp": {"taken_at": at, "ipv4": states(established=5, listen=2), "ipv6": states(listen=1)},
        "udp": None,
        "ports": {
            "taken_at": at,
            "groups": [group(443, established=5, listen=2), group("other", "outbound", listen=1)],
            "folded": 3,
            "listeners": [{"port": 443, "queue": 1, "limit": 128, "drops": 0}],
            "ephemeral": {
                "usable": 28_232,
                "busiest": [
                    {
                        "source": "10.0.0.1",
                        "destination": "192.0.2.1",
                        "port": 5432,
                        "used": 40,
                        "states": {"established": 40},
                    }
                ],
            },
        },
        "diagnosed_at": at,
        "findings": [],
        "limits": {
            "taken_at": at,
            "time_wait_buckets": 7,
            "time_wait_buckets_limit": 16_384,
            "orphan_sockets": None,
            "orphan_sockets_limit": 8192,
            "conntrack_entries": None,
            "conntrack_entries_limit": None,
        },
        **others,
    }


def document(*namespaces: Json, at: float = NOW.wall, **others: Any) -> Json:
    """An observation of these namespaces, or of one that is well."""
    return {
        "taken_at": at,
        "interval_seconds": 5.0,
        "polls": 9,
        "failures": [],
        "namespaces": list(namespaces or (namespace(at),)),
        **others,
    }


def snapshot(*namespaces: Json, at: float = NOW.wall, **others: Any) -> Snapshot:
    return read(document(*namespaces, at=at, **others), NOW)


def scene(seen: Snapshot | None = None, asked: float | None = 5.0) -> Scene:
    """What is known after one look."""
    return Scene("db-7", asked).saw(sighting(seen or snapshot()))


def sighting(seen: Snapshot) -> Sighting:
    by_port = grouped(seen, "port")
    assert by_port is not None
    return Sighting(seen, by_port)


def found(shown: Snapshot) -> tuple[Finding, ...]:
    assert shown.findings is not None
    return shown.findings.value


#: Texts as processes, peers and foreign daemons may choose them.
_TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "\x1b[31mred", "[bold]x[/bold]", "a\nb", "名前の長い", "\udce9", "e\u0301", "🦀" * 9]
    ),
)
_COUNTS = st.sampled_from([0, 0, 1, 7, 999, 12_345, 999_999, 1_000_000, 2**53 - 1])
_STATES = st.dictionaries(st.sampled_from(LABELS), _COUNTS)
_TIMES = st.sampled_from([NOW.wall, NOW.wall, NOW.wall - 5, NOW.wall - 100, NOW.wall + 9, 0.0])
_OWNERS = st.fixed_dictionaries(
    {
        "name": _TEXTS,
        "pid": st.integers(1, 1 << 22),
        "unit": st.none() | _TEXTS,
        "fds": st.none() | _COUNTS,
        "fd_limit": st.none() | _COUNTS,
    }
)
_QUANTITIES = st.one_of(
    st.fixed_dictionaries({"unit": st.sampled_from(UNITS), "value": _COUNTS | st.floats(0, 1e9)}),
    st.fixed_dictionaries({"unit": st.just("text"), "value": _TEXTS}),
)
_PARTS = st.builds(lambda name, quantity: {"name": name, **quantity}, _TEXTS, _QUANTITIES)
_EVIDENCE = st.dictionaries(
    st.sampled_from(["oldest", "peers", "queue", "port", "note"]) | _TEXTS,
    _QUANTITIES | st.fixed_dictionaries({"parts": st.lists(_PARTS, max_size=3)}),
    max_size=4,
)
_ADVICE = st.fixed_dictionaries(
    {
        "purpose": st.sampled_from(PURPOSES),
        "text": _TEXTS,
        "command": st.none()
        | st.fixed_dictionaries(
            {
                "line": _TEXTS,
                "where": st.sampled_from(["here", "namespace", "peer"]),
                "effect": st.sampled_from(["reads", "changes"]),
            }
        ),
    }
)
_SUBJECTS = st.fixed_dictionaries(
    {
        "direction": st.sampled_from([None, "inbound", "outbound"]),
        "port": st.none() | st.integers(0, 65535),
        "path": st.none() | _TEXTS,
    }
)
_CAUSES = st.none() | st.fixed_dictionaries(
    {
        "detector": st.sampled_from(["close_wait_leak", "brand_new"]),
        "netns": _TEXTS,
        "subject": st.builds(lambda subject: {**subject, "owner": None}, _SUBJECTS),
    }
)
_DEADLINES = st.none() | st.fixed_dictionaries({"what": _TEXTS, "seconds": st.floats(0, 1e300)})


@st.composite
def _findings(draw: st.DrawFn) -> Json:
    owners = draw(st.lists(_OWNERS, max_size=3))
    return finding(
        draw(st.sampled_from(["warning", "critical"])),
        detector=draw(st.sampled_from(["close_wait_leak", "dead_peer", "brand_new"])),
        subject={**draw(_SUBJECTS), "owner": owners[0] if owners else None},
        summary=draw(_TEXTS),
        critical_because=draw(st.none() | _TEXTS),
        deadline=draw(_DEADLINES),
        cause=draw(_CAUSES),
        evidence=draw(_EVIDENCE),
        owners=owners,
        advice=draw(st.lists(_ADVICE, max_size=3)),
    )


@st.composite
def _namespaces(draw: st.DrawFn) -> Json:
    plain = namespace(draw(_TIMES))
    groups = [
        group(draw(st.integers(0, 65535) | st.just("other")), direction, **draw(_STATES))
        for direction in draw(st.lists(st.sampled_from(["inbound", "outbound"]), max_size=8))
    ]
    ports = {**plain["ports"], "taken_at": draw(_TIMES), "groups": groups}
    tcp = {"taken_at": draw(_TIMES), "ipv4": draw(_STATES), "ipv6": draw(_STATES)}
    return {
        **plain,
        "netns": draw(_TEXTS),
        "degraded": draw(st.booleans()),
        "beat_seconds": draw(st.sampled_from([5.0, 60.0])),
        "tcp": draw(st.sampled_from([tcp, tcp, None])),
        "ports": draw(st.sampled_from([ports, ports, None])),
        "findings": draw(st.none() | st.lists(_findings(), max_size=12)),
        "diagnosed_at": draw(st.none() | _TIMES),
        "limits": draw(st.sampled_from([plain["limits"], None])),
    }


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """Any observation."""
    return document(
        *draw(st.lists(_namespaces(), min_size=1, max_size=3)),
        at=draw(_TIMES),
        interval_seconds=draw(st.sampled_from([0.1, 5.0, 3600.0])),
        polls=draw(st.sampled_from([1, 2, 100])),
        hints=draw(st.lists(_TEXTS, max_size=2)),
        failures=[
            {"netns": "host", "reason": "x", "message": message}
            for message in draw(st.lists(_TEXTS, max_size=3))
        ],
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Whatever may be known after some looks."""
    known = Scene(draw(_TEXTS), draw(st.sampled_from([None, 2.0])))
    for taken in draw(st.lists(documents(), max_size=3)):
        seen = read(taken, NOW)
        by = draw(st.sampled_from(GROUPINGS))
        names = draw(st.lists(_TEXTS, max_size=5))
        rows = tuple(Row((name,), counted(draw(_STATES))) for name in names)
        asked = grouped(seen, by) or Grouped(by, (by.upper(),), rows, draw(_TEXTS))
        known = known.saw(Sighting(seen, asked, tuple(draw(st.lists(_TEXTS, max_size=2)))))
    return known.lost(draw(_TEXTS)) if draw(st.booleans()) else known


def counted(counts: Json) -> tuple[int, ...]:
    """Sockets by state, as a row has them."""
    numbers = {TcpState[label.upper()]: count for label, count in counts.items()}
    return tuple(numbers.get(TcpState(slot), 0) if slot else 0 for slot in range(STATE_SLOTS))
