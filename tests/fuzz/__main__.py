"""python -m tests.fuzz SECONDS [TARGET ...]: damage inputs, keep those that reach new lines.

Stops at the first input that fails, and keeps it. With --keep, inputs that reach new lines go into
tests/fuzz/corpus, as far as it is not full; else into build/fuzz, where the next run finds them.
"""

import argparse
import hashlib
import logging
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.fuzz.coverage import Lines
from tests.fuzz.mutation import damaged
from tests.fuzz.targets import TARGETS, Target

CORPUS = REPOSITORY / "tests" / "fuzz" / "corpus"
FOUND = REPOSITORY / "build" / "fuzz"
#: In the repository: this many inputs a target, of so many bytes at most.
_KEPT, _KEPT_BYTES = 25, 2048
#: CPU seconds that one input may take, under the tracer.
_SECONDS_PER_INPUT = 5.0


def corpus(directory: Path, name: str) -> Iterator[bytes]:
    """Return the kept inputs of a target."""
    yield from (file.read_bytes() for file in sorted((directory / name).glob("*")))


class Fuzzer:
    """One target, with its inputs and the lines that they reach."""

    def __init__(self, target: Target, keep: Path) -> None:
        self._target = target
        self._keep = keep / target.name
        self._lines = Lines()
        self._inputs: list[bytes] = []
        self.runs = 0
        for data in (*target.seeds(), *corpus(CORPUS, target.name), *corpus(FOUND, target.name)):
            self._run(data)
            self._inputs.append(data)

    def fuzz(self, seconds: float, chance: random.Random) -> None:
        """Feed damaged inputs for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            data = damaged(chance.choice(self._inputs), self._inputs, chance)
            reached = len(self._lines)
            self._run(data)
            if len(self._lines) > reached:
                self._inputs.append(data)
                self._store(data)

    def told(self) -> str:
        """Say how far it came."""
        return (
            f"{self._target.name}: {self.runs:,} inputs, {len(self._inputs):,} of them kept, "
            f"{len(self._lines):,} steps from line to line reached"
        )

    def _run(self, data: bytes) -> None:
        self.runs += 1
        begun = time.process_time()
        try:
            with self._lines.traced():
                self._target.feed(data)
            taken = time.process_time() - begun
            assert taken <= _SECONDS_PER_INPUT, f"{taken:.1f} s for one input"
        except Exception:
            failed = FOUND / "failures" / f"{self._target.name}-{_name(data)}"
            failed.parent.mkdir(parents=True, exist_ok=True)
            failed.write_bytes(data)
            print(f"fails: {failed}\nThen move it to {CORPUS / self._target.name}", file=sys.stderr)
            raise

    def _store(self, data: bytes) -> None:
        if self._keep.parent == CORPUS:
            is_full = len(list(self._keep.glob("*"))) >= _KEPT
            if is_full or len(data) > _KEPT_BYTES:
                return
        self._keep.mkdir(parents=True, exist_ok=True)
        (self._keep / _name(data)).write_bytes(data)


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []])
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.targets or [*TARGETS]
    logging.getLogger("sockmon").setLevel(logging.CRITICAL)  # what it refuses, it says
    seed = time.time_ns()
    print(f"seed {seed}: {', '.join(chosen)}", flush=True)
    chance = random.Random(seed)
    for name in chosen:
        target = TARGETS[name]()
        try:
            fuzzer = Fuzzer(target, CORPUS if arguments.keep else FOUND)
            fuzzer.fuzz(arguments.seconds / len(chosen), chance)
        finally:
            target.close()
        print(fuzzer.told(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
