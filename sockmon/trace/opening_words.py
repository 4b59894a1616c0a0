"""Why a connection was not established, or late, in words. Pure."""

from sockmon.detect.syn_retries import seconds_to_connect
from sockmon.durations import precisely, roughly
from sockmon.model.segments import port_of
from sockmon.trace.connection import CLIENT, SERVER, Connection
from sockmon.trace.facts import Facts
from sockmon.trace.plural import plural
from sockmon.trace.verdict import Verdict


def no_answer(connection: Connection, _: Verdict, facts: Facts) -> list[str]:
    """Return sentences about SYNs that nobody answered."""
    client = connection.ends[CLIENT]
    nobody = "no SYN ACK, no RST. A firewall drops, the host is down, or an accept queue is full."
    if connection.seen_until <= client.gives_up_at:
        return [f"Nobody has answered yet: {nobody}", *_settings(facts)]
    if client.syns == 1 or (facts.syn_retries is not None and client.syns <= facts.syn_retries):
        return [
            f"Nobody answered: {nobody}",
            (
                f"The client gave up after {plural(client.syns, 'SYN')}: by a timeout of its own, "
                "or by an ICMP error (unreachable, prohibited), which is not seen here."
            ),
        ]
    return [f"Nobody answered: {nobody}", *_settings(facts)]


def _settings(facts: Facts) -> list[str]:
    if facts.syn_retries is None:
        return []
    seconds = seconds_to_connect(facts.syn_retries, facts.syn_linear_timeouts)
    return [
        (
            f"tcp_syn_retries = {facts.syn_retries}, tcp_syn_linear_timeouts = "
            f"{facts.syn_linear_timeouts}: connect() fails with ETIMEDOUT after {roughly(seconds)}."
        )
    ]


def no_ack(_: Connection, __: Verdict, ___: Facts) -> list[str]:
    """Return sentences about a SYN-ACK that nobody answered."""
    return [
        (
            "The SYN ACK got no ACK: it does not reach the client, the client's address is forged, "
            "or the ACK was not captured."
        )
    ]


def refused(connection: Connection, _: Verdict, __: Facts) -> list[str]:
    """Return sentences about a SYN that was answered by a reset."""
    port = port_of(connection.names[SERVER])
    return [
        (
            f"Nobody listens on port {port} there, or a firewall rejects. connect() fails with "
            "ECONNREFUSED."
        )
    ]


def sent_again(connection: Connection) -> list[str]:
    """Say why a connection was established late."""
    client, server = connection.ends
    if server.syn_at is None or connection.established_at is None:
        return []
    sentences = []
    if client.syns > 1 and client.syn_at is not None:
        took = precisely(connection.established_at - client.syn_at)
        sentences.append(
            f"The client sent its SYN {client.syns} times, so connect() took {took}: the first was "
            "lost, or dropped by a firewall or for a full accept queue, or its answer was lost."
        )
    if server.syns > 1:
        sentences.append(
            f"The server sent its SYN ACK {server.syns} times: it was lost, or the ACK was lost "
            "or dropped for a full accept queue."
        )
    return sentences
