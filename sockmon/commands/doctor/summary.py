"""What is well, in figures, so that the reader sees that somebody looked."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from sockmon.detect.evidence import chinese_of
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.listeners import fullness
from sockmon.model.names import HOST
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState

T = TypeVar("T")

#: Fewer sockets in CLOSE_WAIT are never worth a word in the verdict.
_WORTH_SAYING = 5


def vital_signs(namespaces: Iterable[NamespaceObservation]) -> Iterator[Text]:
    """Tell of all namespaces together: sums, and what is nearest to its limit, and where."""
    seen = [namespace for namespace in namespaces if namespace.tcp is not None]
    if seen:
        yield _sockets(seen)
    for measure in (_time_wait, _ephemeral, _accept_queue, _unix_queue, _drops, _unguarded):
        found = [(*measured, n.name) for n in seen if (measured := measure(n)) is not None]
        if found:
            _, text, netns = max(found, key=lambda it: it[0])
            yield text + _at(netns)


def reservation(namespaces: Iterable[NamespaceObservation], watched: float) -> Text | None:
    """Say what a verdict without a finding must not hide: many dropped, waiting, or in CLOSE_WAIT.

    A look cannot tell for how long connections to a Unix socket have waited. watched: for how many
    seconds a daemon has polled the host, which has no finding either.
    """
    namespaces = list(namespaces)
    dropped = max((d for n in namespaces if (d := _drops(n))), default=None)
    if dropped and dropped[0] >= _WORTH_SAYING:
        return dropped[1]
    longest = max((queue for n in namespaces for queue in _unix_queues(n)), default=None)
    if longest and longest[0] >= _WORTH_SAYING:
        return Text(
            f"{longest[0]:,} connections wait to be accepted on {longest[1]}",
            f"{longest[1]} 上有 {longest[0]:,} 个连接等待 accept",
        )
    families = [counts for n in namespaces if n.tcp for counts in n.tcp.value.values()]
    total = sum(map(sum, families))
    waiting = sum(counts[TcpState.CLOSE_WAIT] for counts in families)
    if waiting >= _WORTH_SAYING and 2 * waiting >= total:
        return Text(
            f"{waiting:,} of {total:,} TCP sockets are in CLOSE_WAIT",
            f"{total:,} 个 TCP socket 中有 {waiting:,} 个处于 CLOSE_WAIT",
        )
    kept_alive = _kept_alive(n for n in namespaces if not _knows_ages(n, watched))
    if kept_alive >= _WORTH_SAYING:
        return Text(
            f"{kept_alive:,} sockets in CLOSE_WAIT have keepalive, which hides for how long: a "
            "daemon that watches them would know",
            f"{kept_alive:,} 个 CLOSE_WAIT 的 socket 开了 keepalive，看不出停留了多久："
            "要由守护进程持续观察",
        )
    if any(n.limits.value.settings_hidden for n in namespaces if n.limits):
        return Text(
            "this kernel's settings are hidden, so limits, as of ephemeral ports, are not judged",
            "看不到内核参数，因此没有检查本地端口等上限",
        )
    return None


def _sockets(seen: list[NamespaceObservation]) -> Text:
    families = [counts for n in seen if n.tcp for counts in n.tcp.value.values()]
    total = sum(map(sum, families))
    waiting = sum(counts[TcpState.CLOSE_WAIT] for counts in families)
    several = len(seen) > 1
    where = f" in {len(seen)} network namespaces" if several else ""
    text = Text(
        f"{total:,} TCP sockets{where}, {waiting:,} of them in CLOSE_WAIT",
        f"{f'{len(seen)} 个网络命名空间共 ' if several else ''}{total:,} 个 TCP socket，"
        f"其中 {waiting:,} 个 CLOSE_WAIT",
    )
    if not waiting:
        return text
    oldest = [(n.diagnosis.value.oldest_close_wait, n.name) for n in seen if n.diagnosis]
    age, netns = max(oldest, default=(0.0, HOST))
    if any(n.degraded for n in seen) and not age:
        return text + Text(", how old is not known", "，停留多久未知")
    if not age:  # no process holds them: they wait to be accepted
        return text
    kept_alive = _kept_alive(seen)
    if kept_alive:
        return (
            text
            + Text(f", the oldest for at least {roughly(age)}", f"，最久的至少 {roughly(age)}")
            + _at(netns)
            + Text(
                f"; {kept_alive:,} have keepalive, whose answers hide how long",
                f"；{kept_alive:,} 个开了 keepalive，看不出停留了多久",
            )
        )
    return text + Text(f", the oldest for {roughly(age)}", f"，最久的 {roughly(age)}") + _at(netns)


def _knows_ages(namespace: NamespaceObservation, watched: float) -> bool:
    """Whether a daemon that has polled the host for so long knows the ages that keepalive hides."""
    diagnosis = namespace.diagnosis
    is_host = namespace.name == HOST
    return is_host and diagnosis is not None and watched >= 2 * diagnosis.value.stale_after


def _kept_alive(namespaces: Iterable[NamespaceObservation]) -> int:
    """Count the sockets in CLOSE_WAIT of which a look cannot tell the age."""
    return sum(n.diagnosis.value.kept_alive_close_wait for n in namespaces if n.diagnosis)


def _at(netns: str) -> Text:
    return Text("") if netns == HOST else Text(f", netns {netns}", f"，netns {netns}")


def _time_wait(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    limits = namespace.limits.value if namespace.limits else None
    if not (limits and limits.sockstat and limits.time_wait_limit):
        return None
    used, most = limits.sockstat.time_wait, limits.time_wait_limit
    return used / most, Text(
        f"{used:,} of {most:,} time-wait buckets", f"TIME_WAIT bucket：{used:,} / {most:,}"
    )


def _ephemeral(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    limits = namespace.limits.value if namespace.limits else None
    if namespace.ports is None or namespace.degraded or (limits and limits.settings_hidden):
        return None
    ports = namespace.ports.value.ephemeral
    text = Text(
        f"{ports.used_max:,} of {ports.usable:,} ephemeral ports towards the busiest destination",
        f"到最忙目的地址的本地端口：{ports.used_max:,} / {ports.usable:,}",
    )
    return ports.used_max / max(1, ports.usable), text


def _drops(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    """Say which port has dropped most since it listens, as far as the kernel's overflows agree."""
    limits = namespace.limits.value if namespace.limits else None
    overflows = (limits.events or {}).get("ListenOverflows", 0) if limits else 0
    drops = namespace.ports.value.listen_drops if namespace.ports else {}
    port = max(drops, key=drops.__getitem__, default=None)
    if port is None or not min(drops[port], overflows):
        return None
    dropped = min(drops[port], overflows)
    return float(dropped), Text(
        f"{dropped:,} connections dropped at port {port} since it listens",
        f"端口 {port} 开始监听以来丢弃了 {dropped:,} 个连接",
    )


def _unguarded(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    """Say where dead peers would not be noticed."""
    counted = namespace.diagnosis.value.counted if namespace.diagnosis else {}
    groups = counted.get("sockmon_idle_sockets_without_keepalive", ())
    if not groups or groups[0].sockets < _WORTH_SAYING:
        return None
    most = groups[0]
    return float(most.sockets), Text(
        f"{most.sockets:,} connections of {most.direction} port {most.port or 'other'} have no "
        "keepalive: if their peers vanish while they are idle, nothing here would notice",
        f"{chinese_of(most.direction)} {most.port or '其他'} 端口有 {most.sockets:,} 个连接没开 "
        "keepalive：空闲期间对端消失，本机不会察觉",
    )


def _unix_queues(namespace: NamespaceObservation) -> list[tuple[int, str]]:
    diagnosis = namespace.diagnosis
    return (
        [(queue.length, queue.path) for queue in diagnosis.value.unix_queues] if diagnosis else []
    )


def _unix_queue(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    queues = namespace.diagnosis.value.unix_queues if namespace.diagnosis else ()
    if not queues or not queues[0].length:
        return None
    fullest = queues[0]
    text = Text(
        f"{fullest.length:,} of {fullest.limit:,} connections in the fullest accept queue of a "
        f"Unix socket ({fullest.path})",
        f"最满的 Unix socket 队列（{fullest.path}）：{fullest.length:,} / {fullest.limit:,}",
    )
    return fullness(fullest.length, fullest.limit), text


def _accept_queue(namespace: NamespaceObservation) -> tuple[float, Text] | None:
    queues = namespace.ports.value.listen_queues if namespace.ports else ()
    if not queues:
        return None
    fullest = max(queues, key=lambda queue: queue.fullness)
    text = Text(
        f"{fullest.length:,} of {fullest.limit:,} connections in the fullest accept queue "
        f"(port {fullest.port})",
        f"最满的全连接队列（端口 {fullest.port}）：{fullest.length:,} / {fullest.limit:,}",
    )
    return fullest.fullness, text
