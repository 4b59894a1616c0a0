"""Sockets by unit and container are as many as were made in their cgroups."""

from collections import Counter

import pytest

from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState
from tests.cgroups import living_in, make, tree
from tests.lab import AddressKind, NetNs, states
from tests.polling import Polling

pytestmark = pytest.mark.root


def by_owner(namespace: NamespaceObservation) -> Counter[tuple[str | None, TcpState]]:
    assert namespace.owners is not None
    owners = namespace.owners.value
    return +Counter({(its.owner, state): n for its in owners for state, n in its.states.items()})


def test_are_as_many_as_were_made_there(netns: NetNs) -> None:
    container = "c0ffee" * 10 + "beef"
    poller = Polling(netns)
    with tree() as top:
        shop, engine = make(top / "shop.service/worker"), make(top / f"docker-{container}.scope")
        with (
            living_in(shop),
            states.close_wait(netns, AddressKind.IPV4, count=3) as first,
            living_in(engine),
            states.established(netns, AddressKind.IPV6, count=5) as second,
            states.time_wait(netns, AddressKind.IPV4, count=2) as third,
        ):
            (namespace,) = poller.poll().namespaces
    poller.close()
    expected: Counter[tuple[str | None, TcpState]] = Counter()
    for owner, held in (("shop.service", first), (container[:12], second), (container[:12], third)):
        for (_, state), n in held.expected.items():
            expected[None if state is TcpState.TIME_WAIT else owner, state] += n
    assert by_owner(namespace) == expected
    assert namespace.tcp is not None
    total = sum(map(sum, namespace.tcp.value.values()))
    assert by_owner(namespace).total() == total
