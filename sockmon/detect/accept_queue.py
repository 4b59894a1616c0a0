"""Accept queue: connections wait for an application that does not accept them.

Four kinds: a listening socket's queue that nobody empties, however short it is; one that is emptied
so slowly that connections wait long; one that is nearly full; and one that overflows, perhaps only
for moments between two polls.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence, unix_queues
from sockmon.detect.accepting import (
    SEE_QUEUE,
    about_limit,
    connections_wait,
    others_served,
    serving_others,
    somaxconn,
    still_serves,
    too_slow,
    why_stuck,
)
from sockmon.detect.commands import counters, is_service_manager, only, restart, ss
from sockmon.detect.detector import (
    HYSTERESIS,
    Count,
    Detector,
    DetectorThresholds,
    Does,
    Level,
    Ratio,
    Rule,
    Seconds,
    Series,
    threshold,
)
from sockmon.detect.evidence import callers, inodes, percent, who
from sockmon.detect.tcp_queues import Queues, address_of, lengths, queues_of
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.owner import Owner
from sockmon.model.states import TcpState

NAME = "accept_queue"

_QUEUES_SHOWN = 5
#: A queue of so few connections is soon full however fast its server accepts: the limit is too low.
_TINY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """When a queue is nearly full, and when nobody empties it."""

    warning_ratio: Ratio = threshold(0.8, "of the queue's limit; drops are critical")
    stalled_after: Seconds = threshold(30.0, "nothing was accepted for this long")
    warning_waiting: Count = threshold(3, "and this many connections have waited that long")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each port or path and service whose connections are not accepted."""
    for port in _suspects(data, thresholds):
        for queues in queues_of(data, port):
            finding = _judge(data, thresholds, queues)
            if finding is not None:
                yield finding
    limits = unix_queues.Limits(
        thresholds.warning_ratio, thresholds.stalled_after, int(thresholds.warning_waiting)
    )
    yield from unix_queues.find(data, NAME, limits)


def _suspects(data: DetectorInput, thresholds: Thresholds) -> list[int]:
    """Return the ports that are worth a closer look, the longest queues first; none, as a rule."""
    table, rows = data.table, data.stuck.rows
    length, limit = lengths(data, rows)
    full = length >= HYSTERESIS * thresholds.warning_ratio * limit
    idle = data.now - data.stuck.since >= HYSTERESIS * thresholds.stalled_after
    old = data.queues.waits & (
        data.now - data.queues.waits_since >= HYSTERESIS * thresholds.stalled_after
    )
    dropping = {port for _, ports in data.drop_window.polls for port in ports}
    ports = set(table.local_port[rows[(length > 0) & (full | idle)]].tolist())
    ports |= set(table.local_port[data.queues.rows[old]].tolist())
    waiting = dict.fromkeys(sorted(ports | dropping), 0)
    for port, connections in zip(table.local_port[rows].tolist(), length.tolist(), strict=True):
        if port in waiting:
            waiting[port] = max(waiting[port], connections)
    return sorted(waiting, key=lambda port: -waiting[port])


def _judge(data: DetectorInput, thresholds: Thresholds, queues: Queues) -> Finding | None:
    port = queues.group.port
    subject = Subject("inbound", port, data.owner_label(queues.group))
    previous = data.past.get(FindingKey(NAME, data.netns, subject))
    slack = HYSTERESIS if previous else 1.0
    stuck = _stuck(data, thresholds, queues, slack, known=previous is not None)
    full = bool((queues.length > queues.limit).any())
    nearly_full = queues.fullness >= max(thresholds.warning_ratio * slack, 1e-9)
    # Fewer are soon accepted; where they fill a tiny queue, drops say whether anybody suffers.
    few = queues.length.max() < thresholds.warning_waiting
    nearly_full &= not few or queues.drops.connections > 0
    # Who was dropped tries again after ever longer pauses: in between, a full queue is no better.
    dropping = queues.dropped_now > 0 or (full and queues.drops.connections > 0)
    otherwise = bool(stuck.size) or nearly_full or queues.drops.recur
    slow = not stuck.size and _slow(
        data, thresholds, queues, slack, known=previous is not None and not otherwise
    )
    if not (slow or otherwise):
        return None
    judged: Severity = "warning"
    sharing = queues.sharing(data.table, stuck)
    all_stuck = stuck.size == sharing.size > 0
    if (dropping and (nearly_full or full)) or all_stuck:
        judged = "critical"
    serving = serving_others(data, queues.group, queues.listeners) if all_stuck else 0
    held = queues.listeners[stuck] if stuck.size else queues.listeners
    owner = data.owners.of_sockets(queues.group, data.table.inode[held])
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=queues.fullness,
        limit=thresholds.warning_ratio,
        summary=_summary(
            data,
            queues,
            stuck,
            owner,
            slow=slow,
            nearly_full=nearly_full,
            dropping=dropping,
        )
        + _although(data, queues, stuck, owner, serving),
        evidence=_evidence(data, queues),
        advice=_advice(data, queues, stuck, owner, serving),
        group=queues.group,
        owner=owner,
        # All of them: a queue whose holder is not known would be counted as another owner's.
        inodes=inodes(data.table, queues.listeners),
        rows=queues.waiting,
        others=callers(data, queues.waiting),
    )


def _stuck(
    data: DetectorInput, thresholds: Thresholds, queues: Queues, slack: float, *, known: bool
) -> NDArray[np.intp]:
    """Return the places of the listeners whose queues nobody has emptied for long.

    A queue as long as before may hold other connections by now: so the first in some queue of the
    port must have waited as long, too. accept() takes them in their order.
    """
    watched = data.now - (data.now if data.stuck.began is None else data.stuck.began)
    # Watched for less than that: the queues' history is short, but the connections have theirs.
    least = min(thresholds.stalled_after * slack, watched)
    idle = (queues.idle >= least) & (queues.length > 0)
    waited = queues.oldest >= thresholds.stalled_after * slack
    full = (queues.idle >= thresholds.stalled_after * slack) & (queues.length > queues.limit)
    waited |= bool(full.any()) and _all_reset(data, queues)
    # A tiny queue has no room for so many: it is enough that it is full.
    enough = queues.length[idle].sum() >= thresholds.warning_waiting
    enough |= bool((queues.length[idle] > queues.limit[idle]).any())
    moves = queues.moved < thresholds.stalled_after * slack
    if moves or not enough or not (waited or (known and not data.whole)):
        return np.empty(0, np.intp)
    return np.flatnonzero(idle)


def _all_reset(data: DetectorInput, queues: Queues) -> bool:
    """Whether clients have reset all that wait: these stay in the queue, and in no dump.

    Where one was taken from a full queue, the next client's would be seen to wait.
    """
    return data.whole and not queues.waiting.size and bool(queues.length.any())


def _slow(
    data: DetectorInput, thresholds: Thresholds, queues: Queues, slack: float, *, known: bool
) -> bool:
    """Whether connections are accepted, but after a long wait.

    known: that was so before; a part of the table does not have them.
    """
    if not data.whole:
        return known and bool(queues.length.sum() >= thresholds.warning_waiting)
    long = queues.waits >= thresholds.stalled_after * slack
    return bool(long.sum() >= thresholds.warning_waiting)


def _summary(
    data: DetectorInput,
    queues: Queues,
    stuck: NDArray[np.intp],
    owner: Owner | None,
    *,
    slow: bool,
    nearly_full: bool,
    dropping: bool,
) -> Text:
    port, address = queues.group.port, queues.group.address
    where = Text(f"port {port}", f"端口 {port}")
    if address:
        where = Text(f"port {port} of {address}", f"{address} 的端口 {port}")
    server = who(owner)
    all_queues = queues.sharing(data.table, stuck).size
    if stuck.size:
        waiting = int(queues.length[stuck].sum())
        idle = float(max(queues.idle[stuck].min(), min(queues.oldest, queues.idle[stuck].max())))
        idle = min(max(idle, queues.oldest if stuck.size == all_queues else idle), queues.moved)
        if stuck.size < all_queues:
            share = percent(stuck.size / all_queues)
            text = Text(
                f"{stuck.size} of {all_queues} queues of {where} "
                f"{'is' if stuck.size == 1 else 'are'} not emptied by {server}: "
                f"{connections_wait(waiting)}, the first for {roughly(queues.oldest)}; about "
                f"{share} of new connections get no answer",
                f"{where.zh} 的 {all_queues} 个全连接队列中有 {stuck.size} 个没有被 {server.zh} "
                "取走："
                f"{waiting} 个连接在等待，最早的已等 {roughly(queues.oldest)}；约 {share} 的新连接"
                "得不到应答",
            )
        else:
            text = Text(
                f"{server} does not accept on {where}: {connections_wait(waiting)}, none was "
                f"accepted for {roughly(idle)}",
                f"{server.zh} 没有在{where.zh} 上 accept：{waiting} 个连接在等待，已有 "
                f"{roughly(idle)} 没有连接被取走",
            )
        given_up = _given_up(data, queues)
        if given_up:
            text += Text(
                f"; the clients of {given_up} have given up", f"；其中 {given_up} 个的客户端已放弃"
            )
    elif slow:
        sum_ = int(queues.length.sum())
        text = Text(
            f"{server} accepts too slowly on {where}: {connections_wait(sum_)}",
            f"{server.zh} 在{where.zh} 上 accept 太慢：{sum_} 个连接在等待",
        )
        if queues.oldest:
            first = roughly(queues.oldest)
            text += Text(f", the first for {first}", f"，最早的已等 {first}")
    elif nearly_full:
        place = queues.fullest
        fullness, room = percent(queues.fullness), queues.limit[place] + 1
        length = int(queues.length[place])
        text = Text(
            f"{connections_wait(length, where)} for {server} to accept "
            f"{'it' if length == 1 else 'them'}: {fullness} of the queue's room ({room})",
            f"{where.zh} 有 {queues.length[place]} 个连接等待 {server.zh} accept：全连接队列已用 "
            f"{fullness}（容量 {room}）",
        )
    else:
        dropped, within = queues.drops.connections, roughly(queues.drops.seconds)
        room = queues.limit.max() + 1
        return Text(
            f"{where} ({server}) dropped {dropped} connections in the last {within}, in bursts: "
            f"its queue has room for {room}, and is not full between them",
            f"{where.zh}（{server.zh}）最近 {within} 内丢弃了 {dropped} 个连接，都在突发时：全连"
            "接队列"
            f"容量 {room}，其余时间未满",
        )
    return text + Text("; more are dropped", "；新连接正被丢弃") if dropping else text


def _although(
    data: DetectorInput,
    queues: Queues,
    stuck: NDArray[np.intp],
    owner: Owner | None,
    serving: int,
) -> Text:
    """Say what else is known of a server whose queue is not emptied."""
    text, sharing = Text(""), queues.sharing_all(data.table, stuck)
    if stuck.size == queues.sharing(data.table, stuck).size < sharing:
        share = percent(stuck.size / sharing)
        text += Text(
            f"; others listen there too, so about {share} of new connections get no answer",
            f"；该端口还有其他进程在监听，约 {share} 的新连接得不到应答",
        )
    if stuck.size and is_service_manager(owner):
        text += Text(
            "; the service that it keeps the socket for has not taken it",
            "；它替某个服务保管这个 socket，而该服务没有接手",
        )
    if serving:
        text += others_served(serving)
    return text


def _given_up(data: DetectorInput, queues: Queues) -> int:
    if _all_reset(data, queues):
        return int(queues.length.sum())
    return int((data.table.state[queues.waiting] == TcpState.CLOSE_WAIT).sum())


def _evidence(data: DetectorInput, queues: Queues) -> dict[str, Quantity | Breakdown]:
    place = queues.fullest
    found: dict[str, Quantity | Breakdown] = {
        "queue": evidence.count(queues.length[place]),
        "queue_limit": evidence.count(queues.limit[place]),
    }
    if queues.listeners.size > 1:
        order = np.argsort(-queues.length, kind="stable")[:_QUEUES_SHOWN].tolist()
        found["queues"] = tuple(
            (_local(data, int(queues.listeners[at])), evidence.sockets(queues.length[at]))
            for at in order
        )
    if queues.waiting.size:
        found["longest_wait"] = evidence.seconds(queues.oldest)
        found["given_up"] = evidence.sockets(_given_up(data, queues))
        found["clients"] = evidence.peers(data, queues.waiting)
    if queues.drops.connections:
        found["dropped"] = evidence.sockets(queues.drops.connections)
        found["dropped_within"] = evidence.seconds(queues.drops.seconds)
        found["polls_with_drops"] = evidence.count(queues.drops.polls)
    found["events"] = evidence.per_second(data.rates, ("ListenOverflows", "ListenDrops"))
    return found | somaxconn(data.limits.settings)


def _local(data: DetectorInput, row: int) -> str:
    return f"{address_of(data.table, row)} inode {data.table.inode[row]}"


def _advice(
    data: DetectorInput,
    queues: Queues,
    stuck: NDArray[np.intp],
    owner: Owner | None,
    serving: int,
) -> tuple[Advice, ...]:
    port, limit = queues.group.port, int(queues.limit.max())
    about = about_limit(data.limits.settings, limit, owner)
    if not stuck.size:
        advice = [about, too_slow(owner)] if limit < _TINY else [too_slow(owner), about]
    elif is_service_manager(owner):
        advice = [restart(owner)]
    elif serving:
        command = Command(ss("-tnpo", TcpState.ESTABLISHED, filter_=only("inbound", port)))
        first = replace(still_serves(owner, serving), command=command)
        advice = [first, replace(restart(owner), purpose="fix"), about]
    else:
        advice = [restart(owner), why_stuck(owner), about]
    advice += [
        Advice(
            Text(
                "When the queue is full, the kernel drops the client's SYN or last ACK without a "
                "word: clients see connects that take 1, 3, 7 s, or time out.",
                "全连接队列满时，内核会静默丢弃客户端的 SYN 或第三次握手的 ACK：客户端看到的是 "
                "connect "
                "耗时 1、3、7 秒，或者超时。",
            )
        ),
        Advice(
            SEE_QUEUE,
            Command(ss("-tlnp", filter_=only("inbound", port))),
            "look",
        ),
        counters(
            Text("Are connections dropped?", "有连接被丢弃吗？"), "ListenOverflows", "ListenDrops"
        ),
    ]
    return tuple(advice)


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, None]:
    # The kernel has room for one connection more than the limit.
    queue = of("sockmon_accept_queue_connections")
    limit = of("sockmon_accept_queue_limit")
    unix = of("sockmon_unix_accept_queue_connections")
    unix_limit = of("sockmon_unix_accept_queue_limit")
    found = of("sockmon_findings", detector=NAME)
    ratio = f"{thresholds.warning_ratio:g}"
    return (
        (
            f"{queue}\n>= {ratio} * ({limit} + 1)\nand {queue} > 0\n"
            f"or {unix}\n>= {ratio} * ({unix_limit} + 1)\nand {unix} > 0\n"
            f"or ignoring (port, path) sum without (detector, severity) ({found}) > 0"
        ),
        None,
    )


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    return {"sockmon_accept_queue_connections": (thresholds.warning_ratio, None)}


DETECTOR = Detector(
    name=NAME,
    about="a server does not accept its connections, or not fast enough",
    title=Text("A server does not accept its connections", "服务端没有 accept 连接"),
    actor=Text("The server here", "本机服务"),
    does=Does(
        Text("does not accept its connections", "没有 accept 连接"),
        Text("do not accept their connections", "没有 accept 连接"),
    ),
    state=TcpState.LISTEN,
    thresholds=Thresholds,
    find=find,
    fault="does_not_accept",
    caused_by=(("same_process", "has_no_descriptors"),),
    levels=_levels,
    rule=Rule(
        summary="a listener's accept queue fills up or is not emptied",
        explanation=(
            "The application does not call accept(), or not fast enough; once the queue is full, "
            "the kernel drops what arrives (TCP) or refuses it (Unix sockets)."
        ),
        warning=(
            "{{ with $labels.port }}Waiting: {{ $value | humanize }} connections to port {{ . }}."
            "{{ else }}{{ with $labels.path }}Waiting: {{ $value | humanize }} connections to "
            "{{ . }}.{{ else }}Findings: {{ $value | humanize }}.{{ end }}{{ end }}"
        ),
        expressions=_expressions,
    ),
)
