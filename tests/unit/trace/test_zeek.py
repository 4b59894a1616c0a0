"""Zeek's verdicts on real captures, which are not part of this repository.

A folder beside the checkout, ../shared/captures, or the one that SOCKMON_CAPTURES names: captures,
and answers.tsv with a row for each connection. Without it nothing is left out: what Zeek's words
mean has tests of its own in test_tracker.py, and live ones.
"""

import csv
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from sockmon.kernel.packets.files import open_capture
from sockmon.kernel.packets.headers import decode
from sockmon.model.segments import end_text
from sockmon.trace.tracker import Tracker
from sockmon.trace.verdict import conn_state
from tests.conftest import REPOSITORY

FOLDER = Path(
    os.environ.get("SOCKMON_CAPTURES") or REPOSITORY.parent.joinpath("shared", "captures")
)
#: Where sockmon says something else than Zeek, and why.
DIFFERENT = {
    ("pbb.pcap", "10.199.249.11:49601"): "in a tunnel, which is counted and not decoded",
    ("globus-url-copy.pcap", "192.168.57.103:35391"): "Zeek's test stops reading at bulk data",
    ("smtp.pcap", "10.10.1.4:1470"): "Zeek's test drops the connection after the handshake",
    ("tls_irc-starttls.pcap", "203.143.168.47:55123"): "a reset between the FINs is a reset",
    ("modbus_modbus-and-non-modbus-p502.pcap", "198.74.56.135:60293"): (
        "Zeek takes what follows a reset for another connection"
    ),
}


def ours(file: Path) -> Counter[tuple[str, str, str]]:
    """Client, server and conn_state of each connection."""
    tracker = Tracker()
    with open_capture(str(file)) as capture:
        over = [one for part in capture.packets() for one in tracker.take(decode(part).segments)]
    return Counter(
        (end_text(one.names[0]), end_text(one.names[1]), conn_state(one))
        for one in (*over, *tracker.finish())
    )


def answers() -> dict[str, Counter[tuple[str, str, str]]]:
    """The same by capture, as Zeek has it; none without the folder."""
    found: dict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    if FOLDER.is_dir():
        with (FOLDER / "answers.tsv").open() as table:
            for row in csv.DictReader(table, delimiter="\t"):
                client, server = (_end(row[f"{side}_h"], row[f"{side}_p"]) for side in ENDS)
                found[row["capture"]][client, server, row["conn_state"]] += 1
    return found


ENDS = ("orig", "resp")


def _end(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


ANSWERS = answers()
if ANSWERS:

    @pytest.mark.parametrize("name", ANSWERS)
    def test_a_real_capture_has_the_verdicts_of_zeek(name: str) -> None:
        different = {client for client, _, _ in ANSWERS[name] - ours(FOLDER / name)}
        assert different == {client for file, client in DIFFERENT if file == name}

    def test_what_differs_is_in_the_captures() -> None:
        assert {file for file, _ in DIFFERENT} <= set(ANSWERS)
