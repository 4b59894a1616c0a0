"""Compare tshark's reading of captures with sockmon's; --record: keep it, with the captures."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sockmon.drill.lab.addresses import AddressKind
from tests.conftest import REPOSITORY
from tests.oracle.conversations import odd, real
from tests.oracle.reading import Reading, by_sockmon, by_tshark

KEPT = REPOSITORY / "tests" / "recorded" / "traces"


def made(directory: Path) -> Iterator[Path]:
    for name, kind, device in (
        ("loopback-ipv4.pcap", AddressKind.IPV4, "lo"),
        ("any-ipv6.pcap", AddressKind.IPV6, "any"),
    ):
        real(directory / name, kind, device)
        yield directory / name
    odd(directory / "odd.pcapng")
    yield directory / "odd.pcapng"


def differences(theirs: Reading, ours: Reading) -> list[str]:
    return [
        f"{part}: tshark {their}, sockmon {our}"
        for part in Reading._fields
        for their, our in _pairs(getattr(theirs, part), getattr(ours, part))
        if their != our
    ]


def _pairs(theirs: list[object], ours: list[object]) -> Iterator[tuple[object, object]]:
    longest = max(len(theirs), len(ours))
    filled = ([*part, *[None] * (longest - len(part))] for part in (theirs, ours))
    return zip(*filled, strict=True)


def main(*, record: bool) -> int:
    status = 0
    with tempfile.TemporaryDirectory() as directory:
        target = KEPT if record else Path(directory)
        files = [*made(target), *([] if record else sorted(KEPT.glob("*.pcap*")))]
        for file in files:
            theirs = by_tshark(file)
            found = differences(theirs, by_sockmon(file))
            print(f"{file.name}: {len(theirs.segments)} segments, {len(found)} differences")
            print(*found, sep="\n", end="\n" if found else "")
            status |= bool(found)
            if record:
                file.with_suffix(".json").write_text(theirs.text())
    return status


if __name__ == "__main__":
    sys.exit(main(record="--record" in sys.argv))
