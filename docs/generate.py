"""Write the pages of docs/ that the code has the truth of: metrics.md, and symptoms.md twice.

python docs/generate.py           # write them
python docs/generate.py --check   # exit 1 if one is not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sockmon.commands.explain.explain import ENTRIES, RUNBOOK, WRONG, heading
from sockmon.commands.explain.symptom import Symptom
from sockmon.export.families import ALL, LABELS, PROCESS, TERMS
from sockmon.export.family import Family
from sockmon.language import Language, Text, said

DOCS = Path(__file__).parent

_ABOUT = """\
# Metrics

Every family on `/metrics`. This page is generated from the code (`make generate`), and a test
compares it with what a daemon answers.

A family without samples is not shown: there is no `sockmon_conntrack_entries` on a host without
connection tracking. What could not be read for three polls is left out too, so that no query takes
an old number for a current one. Counters start at 0 with the daemon, but for those named
`sockmon_tcp_...` and `sockmon_conntrack_...`, which are the kernel's own.

No label value is an address, a cookie, an inode, a PID or a client's own port. The last column says
how many series there are at most.
"""


_ALSO = Text("Also: ", "也写作：")
_ABOUT_SYMPTOMS = Text(
    """\
# Symptoms

What stands in a log, in the output of a tool, or in an article: what it is, how to see it on this
host, and where widespread advice is wrong. `sockmon explain WORDS` answers the same offline, also
for a whole line of a log. This page is generated from what it knows (`make generate`).
""",
    """\
# 报错与现象速查

日志、工具输出或文章里的一句话：它是什么，在本机怎么看，常见的错误建议错在哪里。
`sockmon explain 关键词` 离线给出同样的答案，也可以直接贴一整行日志。
本页由它的数据生成（`make generate`）。
""",
)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write generated pages, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    pages = {
        "metrics.md": metrics(),
        "symptoms.md": symptoms("en"),
        "zh/symptoms.md": symptoms("zh"),
    }
    for name, text in pages.items():
        path = DOCS / name
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"{path} is not current: run {Path(__file__).name}\n")
            return 1
    return 0


def metrics() -> str:
    """Return the page of metrics."""
    return "\n".join(
        [
            _ABOUT,
            *_families("sockmon", ALL),
            *_terms("Series", ("words", "meaning"), TERMS),
            *_terms("Labels", ("label", "meaning and values"), LABELS),
            *_families("The daemon's process", PROCESS),
        ]
    )


def symptoms(language: Language) -> str:
    """Return the page of what people see and search for, as `sockmon explain` answers it."""
    return "\n".join(
        [
            said(_ABOUT_SYMPTOMS, language),
            *(line for entry in ENTRIES for line in _symptom(entry, language)),
        ]
    )


def _symptom(entry: Symptom, language: Language) -> Iterator[str]:
    yield f"## {heading(entry, language)}\n"
    others = ", ".join(f"`{name}`" for name in entry.names[1:])
    if others:
        yield f"{said(_ALSO, language)}{others}\n"
    yield f"{said(entry.what, language)}\n"
    yield from (f"    {command}" for command in entry.see)
    yield ""
    if entry.wrong is not None:
        yield f"**{said(WRONG, language)}** {said(entry.wrong, language)}\n"
    if entry.runbook is not None:
        yield f"{said(RUNBOOK, language)}[{entry.runbook}]({_runbook(entry.runbook, language)})\n"


def _runbook(alert: str, language: Language) -> str:
    """Return the link to a runbook, to the Chinese one if there is one."""
    name = f"runbooks/{alert}.md"
    if language == "en":
        return name
    return name if (DOCS / "zh" / name).exists() else f"../{name}"


def _families(title: str, families: Iterable[Family]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| family | type | unit | labels | meaning | series |"
    yield "|---|---|---|---|---|---|"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        cells = (
            f"`{family.published}`", family.kind, family.unit, labels, family.help, family.series,
        )  # fmt: skip
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _terms(title: str, heads: tuple[str, str], terms: Mapping[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|"
    for term, meaning in terms.items():
        yield f"| `{term}` | {_cell(meaning)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").removesuffix(".")


if __name__ == "__main__":
    sys.exit(main())
