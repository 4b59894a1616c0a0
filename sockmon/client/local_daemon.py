"""This host's daemon knows what one look cannot: how counts grow, and when limits are reached."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sockmon.client.parse import InvalidResponseError, read
from sockmon.client.snapshot import FetchError, Snapshot
from sockmon.config.fields import ListenAddress
from sockmon.model.finding import SEVERITIES, Finding, FindingKey, Quantity
from sockmon.model.moment import Moment

_TIMEOUT_SECONDS = 1.0
#: A daemon's last poll is older than our look; its times must be longer by more than that.
_LONGER_SECONDS = 30.0
#: The owner of a finding whose owner cannot be seen.
_NO_OWNER = (None, "unknown")

#: Who has a finding that is shown in the daemon's words: the daemon and we, or only the daemon.
Says = Literal["too", "alone"]


@dataclass(frozen=True, slots=True)
class Watch:
    """A daemon's last findings, and for how many seconds it has been running.

    unseen: what it could not read, in its words; troubles: what else of it fails.
    """

    url: str
    seconds: float
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


def ask(addresses: Iterable[ListenAddress]) -> Watch | None:
    """Ask the daemon that listens on these addresses, over loopback; None if there is no answer."""
    from sockmon.client.api import DaemonApi  # noqa: PLC0415 - loads HTTP only when it asks

    reachable = ((_loopback(address.host), address.port) for address in addresses)
    host, port = next(((host, port) for host, port in reachable if host), ("", 0))
    if not host:
        return None
    url = f"http://{ListenAddress(host, port)}"
    api = DaemonApi(url, _TIMEOUT_SECONDS, send_password=False)
    try:
        document, received = api.get("/api/v1/observation")
        return _watch(api.url, read(document, received), received)
    except (FetchError, InvalidResponseError):
        return None
    finally:
        api.close()


def no_daemon(addresses: Iterable[ListenAddress]) -> Watch | None:  # noqa: ARG001 - the signature is ask's
    """Ask no daemon: what was examined is not this host."""
    return None


def joined(own: Iterable[Finding], watch: Watch) -> tuple[list[Finding], Mapping[FindingKey, Says]]:
    """Return our findings and the daemon's as one list, and which of them are in its words.

    Of a finding that both have, the daemon's is used if it is more severe, has more evidence, knows
    its owner or has seen it for longer.
    """
    findings: list[Finding] = []
    says: dict[FindingKey, Says] = {}
    joined_as: dict[FindingKey, FindingKey] = {}  # only one of both may know an owner
    theirs = list(watch.findings)
    for mine in own:
        its = next((f for f in theirs if f.key == mine.key), None)
        its = its or next((f for f in theirs if _is_same(mine, f)), None)
        if its is not None:
            theirs.remove(its)
        if its is None or not _adds(its, mine):
            findings.append(mine)
        else:
            findings.append(_with_owner(its, mine))
            says[findings[-1].key] = "too"
        if its is not None:
            joined_as[mine.key] = joined_as[its.key] = findings[-1].key
    says.update({finding.key: "alone" for finding in theirs})
    return [
        replace(found, cause=joined_as.get(found.cause, found.cause)) if found.cause else found
        for found in (*findings, *theirs)
    ], says


def _loopback(host: str) -> str | None:
    """Return the address to ask a daemon that listens on `host`; None: it is not on loopback."""
    if not host:
        return "127.0.0.1"
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host if address.is_loopback else None


def _watch(url: str, snapshot: Snapshot, received: Moment) -> Watch | None:
    """Return its findings for the namespaces that it has diagnosed recently, if any."""
    recent = [
        part.findings.value
        for part in snapshot.parts
        if part.findings and received.monotonic - part.findings.at.monotonic <= part.believed
    ]
    if not recent:
        return None
    findings = tuple(finding for findings in recent for finding in findings)
    unseen = (*snapshot.hints, *snapshot.failures)
    return Watch(url, snapshot.polls * snapshot.interval, findings, unseen, snapshot.troubles)


def _is_same(mine: Finding, its: Finding) -> bool:
    """Return whether both are about the same thing; one of them may not know the owner."""
    is_unknown = mine.subject.owner in _NO_OWNER or its.subject.owner in _NO_OWNER
    return mine.place == its.place and is_unknown


def _adds(its: Finding, mine: Finding) -> bool:
    """Return whether the daemon's is more severe, or as severe with more evidence or an owner."""
    worse = SEVERITIES.index(its.severity) - SEVERITIES.index(mine.severity)
    more = not its.evidence.keys() <= mine.evidence.keys() or (its.deadline and not mine.deadline)
    more = more or (_has_owner(its) and not _has_owner(mine))
    return worse > 0 or (worse == 0 and (bool(more) or _has_seen_longer(its, mine)))


def _has_owner(finding: Finding) -> bool:
    return finding.owner is not None and bool(finding.owner.unit or finding.owner.processes)


def _has_seen_longer(its: Finding, mine: Finding) -> bool:
    """Return whether the daemon's times are longer than ours: some are known only by watching."""
    return any(
        isinstance(shown, Quantity)
        and shown.unit == "seconds"
        and isinstance(ours := mine.evidence.get(name), Quantity)
        and float(shown.value) > float(ours.value) + _LONGER_SECONDS
        for name, shown in its.evidence.items()
    )


def _with_owner(its: Finding, mine: Finding) -> Finding:
    """Return the daemon's word; in ours, what it may not see: the processes."""
    if not (mine.owner and mine.owner.processes) or (its.owner and its.owner.processes):
        return its
    return replace(
        mine,
        severity=its.severity,
        evidence={**its.evidence, **mine.evidence},
        critical_because=its.critical_because,
        deadline=its.deadline or mine.deadline,
    )
