"""Unix sockets whose server does not accept: their queue is nearly full, or stays as long as it is.

A Unix listener drops nobody: past its limit connect() fails with EAGAIN, or waits if it may
(net/unix/af_unix.c, unix_stream_connect()).
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.accepting import (
    SEE_QUEUE,
    about_limit,
    connections_wait,
    no_descriptors,
    somaxconn,
    too_slow,
    why_stuck,
)
from sockmon.detect.commands import is_service_manager, restart
from sockmon.detect.detector import HYSTERESIS
from sockmon.detect.evidence import percent, who
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Breakdown, Command, Finding, FindingKey, Quantity, Subject
from sockmon.model.owner import Owner
from sockmon.model.unix_listeners import UnixListener


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of TCP's queues: see those."""

    ratio: float
    stalled_after: float
    waiting: int


def find(data: DetectorInput, detector: str, limits: Limits) -> Iterator[Finding]:
    """Yield a finding of this detector for each path that is not accepted from."""
    for listener in sorted(data.unix.listeners, key=lambda its: -its.length):
        if listener.length:
            finding = _judge(data, detector, limits, listener)
            if finding is not None:
                yield finding


def _judge(
    data: DetectorInput, detector: str, limits: Limits, listener: UnixListener
) -> Finding | None:
    owner = data.owners.holding(np.array([listener.inode], np.uint32))
    subject = Subject("inbound", None, owner.label if owner else None, listener.path)
    key = FindingKey(detector, data.netns, subject)
    slack = HYSTERESIS if key in data.past else 1.0
    idle = data.unix.idle(listener, data.now)
    full = listener.length > listener.limit
    enough = full or listener.length >= limits.waiting
    stuck = enough and idle >= limits.stalled_after * slack
    # Full, and seen for too short a time to know whether anybody is accepted.
    unclear = (
        full and not stuck and data.unix.began is not None and idle >= data.now - data.unix.began
    )
    if not stuck and listener.fullness < limits.ratio * slack:
        return None
    return Finding(
        detector=detector,
        severity="critical" if stuck or full else "warning",
        netns=data.netns,
        subject=subject,
        value=listener.fullness,
        limit=limits.ratio,
        summary=_summary(listener, owner, idle, stuck=stuck, full=full),
        evidence=_evidence(data, listener, idle),
        advice=_advice(data, listener, owner, stuck=stuck, unclear=unclear),
        owner=owner,
        inodes=(listener.inode,),
    )


def _summary(
    listener: UnixListener,
    owner: Owner | None,
    idle: float,
    *,
    stuck: bool,
    full: bool,
) -> Text:
    path, length, server = listener.path, listener.length, who(owner)
    if not stuck:
        used, room = percent(listener.fullness), listener.limit + 1
        text = Text(
            f"{connections_wait(length, path)} for {server} to accept "
            f"{'it' if length == 1 else 'them'}: "
            f"{used} of the queue's room ({room})",
            f"{path} 有 {length} 个连接等待 {server.zh} accept：队列已用 {used}（容量 {room}）",
        )
    else:
        text = Text(
            f"{server} does not accept on {path}: {connections_wait(length)}",
            f"{server.zh} 没有在 {path} 上 accept：{length} 个连接在等待",
        )
        if listener.waiting:
            text += Text(
                f", none was accepted for {roughly(idle)}", f"，已有 {roughly(idle)} 没有连接被取走"
            )
        else:
            text += Text(f", and no fewer for {roughly(idle)}", f"，{roughly(idle)} 内没有减少")
    if full:
        text += Text(
            "; further connects fail with EAGAIN, or wait", "；新的 connect() 返回 EAGAIN 或阻塞"
        )
    return text


def _evidence(
    data: DetectorInput, listener: UnixListener, idle: float
) -> dict[str, Quantity | Breakdown]:
    return {
        "queue": evidence.count(listener.length),
        "queue_limit": evidence.count(listener.limit),
        "none_accepted_for": evidence.seconds(idle),
        **somaxconn(data.limits.settings),
    }


def _advice(
    data: DetectorInput,
    listener: UnixListener,
    owner: Owner | None,
    *,
    stuck: bool,
    unclear: bool,
) -> tuple[Advice, ...]:
    path = listener.path
    return (
        *_first(owner, stuck=stuck, unclear=unclear),
        Advice(
            Text(
                "When the queue is full, a client's connect() fails with EAGAIN if it is "
                "non-blocking (nginx: connect() to unix:... failed (11: Resource temporarily "
                "unavailable)), and else waits.",
                "队列满时，非阻塞客户端的 connect() 返回 EAGAIN（nginx 报 connect() to unix:... "
                "failed (11: Resource temporarily unavailable)），阻塞的则一直等待。",
            )
        ),
        about_limit(data.limits.settings, listener.limit, owner),
        Advice(
            SEE_QUEUE,
            Command(f"ss -xlp src {shlex.quote(path)}" if _is_whole(listener) else "ss -xlp"),
            "look",
        ),
    )


def _first(owner: Owner | None, *, stuck: bool, unclear: bool) -> list[Advice]:
    end = restart(owner)
    if unclear:
        if_stuck = Text("If none is accepted for a minute: ", "如果一分钟内没有一个被 accept：")
        end = replace(end, text=if_stuck + end.text, purpose="fix")
        return [*no_descriptors(owner), too_slow(owner), end]
    if not stuck:
        return [too_slow(owner)]
    return [end] if is_service_manager(owner) else [end, why_stuck(owner)]


def _is_whole(listener: UnixListener) -> bool:
    """Whether the path is shown as ss knows it."""
    shown = listener.path
    name = listener.name.rstrip(b"\0") if listener.name[:1] != b"\0" else b"@" + listener.name[1:]
    return shown.encode() == name
