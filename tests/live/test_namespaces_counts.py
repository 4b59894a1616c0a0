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
#: TIME_WAIT ends after a minute, which a busy machine takes to make the others.
LASTING = [state for state in HOLD if state is not TcpState.TIME_WAIT]
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


def populate(netns: NetNs, number: int, stack: ExitStack) -> Counts:
    """Hold sockets in some states, others in each namespace; what there is then."""
    for name in ("tcp_syn_retries", "tcp_synack_retries"):
        netns.set_sysctl(f"net.ipv4.{name}", 10)  # what is not answered lasts for ten minutes
    made: Counts = Counter()
    for turn in range(STATES_EACH):
        state = LASTING[(number + 4 * turn) % len(LASTING)]
        kind = list(AddressKind)[(number // len(LASTING) + turn) % len(AddressKind)]
        made += hold(netns, state, kind, (number + turn) % 4 + 1, stack)
    return made


def hold(netns: NetNs, state: TcpState, kind: AddressKind, count: int, stack: ExitStack) -> Counts:
    """Hold so many sockets in a state; what there is of them."""
    made: Counts = Counter()
    for (_, it), sockets in stack.enter_context(HOLD[state](netns, kind, count)).expected.items():
        # A dual-stack listener is bound to "::", and what it accepts is v4-mapped.
        dual_stack = kind is AddressKind.MAPPED and it is TcpState.LISTEN
        made[6 if kind is AddressKind.IPV6 or dual_stack else 4, it.label] += sockets
    return made


def test_counts_what_ss_counts_in_each_of_a_hundred_namespaces() -> None:
    with ExitStack() as stack:
        inside = [stack.enter_context(NetNs()) for _ in range(NAMESPACES)]
        pids = [stack.enter_context(resident(netns)) for netns in inside]
        made = [populate(netns, number, stack) for number, netns in enumerate(inside)]
        for number, kind in enumerate((AddressKind.IPV4, AddressKind.IPV6)):
            made[number] += hold(inside[number], TcpState.TIME_WAIT, kind, 3, stack)
        every_kind = {(family, state.label) for family in (4, 6) for state in HOLD}
        assert sum(made, Counter()).keys() == every_kind
        with polling(seeing_pids(*pids)) as monitor:
            observation = monitor.poll(now)
        assert observation.failures == ()
        seen = {namespace.name: counted(namespace) for namespace in observation.namespaces[1:]}
        assert seen == dict(zip(map(name_of, inside), made, strict=True))
        for netns in inside:
            # ss does not know of a socket that is bound and no more.
            known = {key: n for key, n in seen[name_of(netns)].items() if key[1] != "close"}
            assert known == by_ss(netns)
