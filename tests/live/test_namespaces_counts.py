"""What is counted in each of many namespaces is what was made there, and what `ss` counts there."""

import re
from collections import Counter
from contextlib import ExitStack

import pytest

from sockmon.clock import now
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState
from tests.lab import AddressKind, NetNs
from tests.lab.states import HOLD
from tests.polling import polling
from tests.resident import name_of, resident, seeing_pids

pytestmark = pytest.mark.root

NAMESPACES = 100
STATES_EACH = 3
SS_NAMES = {"ESTAB": "established", "UNCONN": "close"}

Counts = Counter[tuple[int, str]]  # by family and state; what is v4-mapped is IPv4


def counted(namespace: NamespaceObservation) -> Counts:
    assert namespace.tcp is not None
    return +Counter(
        {
            (family, str(state.label)): counts[state]
            for family, counts in namespace.tcp.value.items()
            for state in TcpState
        }
    )


def by_ss(netns: NetNs) -> Counts:
    found: Counts = Counter()
    for line in netns.run(["ss", "-Htan"]).stdout.splitlines():
        word, _, _, local, _ = line.split()
        state = SS_NAMES.get(word, re.sub(r"-(?=\d)", "", word).replace("-", "_").lower())
        of_ipv6 = local.startswith(("[", "*")) and not local.startswith("[::ffff:")
        found[6 if of_ipv6 else 4, state] += 1
    return found


def lasts(counts: Counts) -> bool:
    """Whether nothing of it ends within a minute."""
    return all(state != "time_wait" for _, state in counts)


def populate(netns: NetNs, number: int, stack: ExitStack, *, in_time_wait: bool) -> Counts:
    """Hold sockets in some states, others in each namespace; what is made now of them.

    in_time_wait: those that last for a minute only, or all others.
    """
    made: Counts = Counter()
    for turn in range(STATES_EACH):
        state = list(HOLD)[(number + 4 * turn) % len(HOLD)]
        if (state is TcpState.TIME_WAIT) != in_time_wait:
            continue
        kind = list(AddressKind)[(number // len(HOLD) + turn) % len(AddressKind)]
        held = stack.enter_context(HOLD[state](netns, kind, count=(number + turn) % 4 + 1))
        for (_, it), sockets in held.expected.items():
            # A dual-stack listener is bound to "::", and what it accepts is v4-mapped.
            dual_stack = kind is AddressKind.MAPPED and it is TcpState.LISTEN
            made[6 if kind is AddressKind.IPV6 or dual_stack else 4, it.label] += sockets
    return made


def test_counts_what_ss_counts_in_each_of_a_hundred_namespaces() -> None:
    with ExitStack() as stack:
        inside = [stack.enter_context(NetNs()) for _ in range(NAMESPACES)]
        pids = [stack.enter_context(resident(netns)) for netns in inside]
        for netns in inside:  # what is not answered is tried for ten minutes
            netns.set_sysctl("net.ipv4.tcp_syn_retries", 10)
            netns.set_sysctl("net.ipv4.tcp_synack_retries", 10)
        made: list[Counts] = [Counter() for _ in inside]
        for in_time_wait in (False, True):
            for number, netns in enumerate(inside):
                made[number] += populate(netns, number, stack, in_time_wait=in_time_wait)
        every_kind = {(family, state.label) for family in (4, 6) for state in HOLD}
        assert sum(made, Counter()).keys() == every_kind
        with polling(seeing_pids(*pids)) as monitor:
            observation = monitor.poll(now)
        assert observation.failures == ()
        seen = {namespace.name: counted(namespace) for namespace in observation.namespaces[1:]}
        assert seen == dict(zip(map(name_of, inside), made, strict=True))
        for netns in sorted(inside, key=lambda it: lasts(seen[name_of(it)])):
            # ss does not know of a socket that is bound and no more.
            known = {key: n for key, n in seen[name_of(netns)].items() if key[1] != "close"}
            assert known == by_ss(netns)
