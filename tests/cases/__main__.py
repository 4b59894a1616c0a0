"""`python -m tests.cases [NAME ...]`: play cases, print what was said; 1 if any of it is wrong."""

import argparse
import fnmatch
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.cases.case import Case, first_advice, in_words
from tests.cases.room import Played, play
from tests.cases.stories import CASES

#: Cases sleep for most of their time.
_AT_ONCE = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a case, or a pattern such as nginx*"
    )
    parser.add_argument("--list", action="store_true", help="only list the cases")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="how many play at a time")
    arguments = parser.parse_args()
    chosen = [case for name, case in CASES.items() if _chosen(name, arguments.names)]
    if arguments.list or not chosen:
        print("\n".join(case.name for case in chosen))
        return not chosen
    wrong = 0
    with ThreadPoolExecutor(arguments.at_once) as pool:
        # Those that are watched for longest begin first.
        order = sorted(chosen, key=lambda case: bool(case.expects))
        for done in as_completed([pool.submit(play, case) for case in order]):
            played = done.result()
            wrong += bool(played.wrong)
            print(_row(played), flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} cases are right")
    return bool(wrong)


def _chosen(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _row(played: Played) -> str:
    case: Case = played.case
    seen = f" after {played.seconds:.0f} s" if played.seconds else ""
    lines = [f"{'WRONG' if played.wrong else 'right'}  {case.name}{seen}"]
    lines.append(f"expected  {case.expected}")
    lines += [f"doctor    {line}" for line in played.doctor.splitlines()[:1]]
    lines += [f"alone     {line}" for line in played.alone.splitlines()[:1]]
    for finding in played.findings:
        because = " (a symptom)" if finding["cause"] else ""
        lines.append(f"finding   {in_words(finding)}{because}")
        lines.append(f"advice    {first_advice(finding)}")
    lines += [
        f"note      {it[6:]}" for it in played.doctor.splitlines() if it.startswith("note: ")
    ][:-1]
    lines += [f"wrong     {it}" for it in played.wrong]
    wrapped = (
        textwrap.fill(line, 150, subsequent_indent=" " * 10, break_long_words=False)
        for line in lines
    )
    return "\n".join(wrapped) + "\n"


if __name__ == "__main__":
    sys.exit(main())
