"""Words -> the entries that they mean, and those as text. Pure."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from errno import errorcode

from sockmon.alert.labels import runbook_url
from sockmon.commands.explain.programs import PROGRAMS
from sockmon.commands.explain.states import STATES
from sockmon.commands.explain.symptom import Symptom
from sockmon.commands.explain.symptoms import SYMPTOMS
from sockmon.commands.explain.sysctls import SYSCTLS
from sockmon.detect.registry import ALL
from sockmon.language import Language, Text, said, wrapped

ENTRIES: tuple[Symptom, ...] = (*SYMPTOMS, *PROGRAMS, *STATES, *SYSCTLS)

_WIDTH = 92
#: From a whole line of a log, this much is compared.
_LONGEST = 1000
#: A part of a name, such as "bucket table", is as long as this.
_SHORTEST_PART = 4
#: So many entries are named where none is meant, if they share this much: a word that one entry in
#: five has.
_NEAREST, _LEAST_SHARED = 3, 0.2
#: In Latin letters a word does not begin amid another; Chinese has no spaces.
_START = "(?<![a-z])"
_SEE = Text("On this host:", "在本机查看：")
WRONG = Text("Often advised, and wrong:", "常见的错误建议：")
RUNBOOK = Text("runbook: ", "处理手册：")


def find(words: str) -> list[Symptom]:
    """Return the entries that are meant, best first; empty if none is.

    words: a name, a part of one, a line of a log that has one in it, an errno, a detector or an
    alert. Of the names in a line the longest counts.
    """
    asked = _folded(words[:_LONGEST])
    if not asked:
        return []
    error = errorcode.get(int(asked)) if re.fullmatch(r"\d{1,3}", asked, re.ASCII) else None
    detector = next((d for d in ALL if asked in (d.name.replace("_", " "), d.alert.lower())), None)
    if error is not None:
        asked = error.lower()
    if detector is not None:
        return [entry for entry in (*SYMPTOMS, *STATES) if entry.runbook == detector.alert]
    scored = [(_score(entry, asked), entry) for entry in ENTRIES]
    best = max(score for score, _ in scored)
    return [entry for score, entry in scored if score == best] if best > 0 else []


def nearest(words: str) -> list[str]:
    """Return the headings of at most three entries that are most like the words, best first.

    A name spelled alike comes first; then those that share words, the rare ones before the common.
    """
    asked = _folded(words[:_LONGEST])
    names = {_folded(name): entry for entry in ENTRIES for name in entry.names}
    alike = [names[name] for name in difflib.get_close_matches(asked, names, n=_NEAREST)]
    has = [set[str]().union(*map(_parts, map(_folded, entry.names))) for entry in ENTRIES]
    often = Counter(part for parts in has for part in parts)
    shared = [sum(1 / often[part] for part in _parts(asked) & parts) for parts in has]
    ranked = sorted(zip(shared, ENTRIES, strict=True), key=lambda each: -each[0])
    found = [*alike, *(entry for score, entry in ranked if score >= _LEAST_SHARED)]
    return list(dict.fromkeys(entry.names[0] for entry in found))[:_NEAREST]


def _parts(folded: str) -> set[str]:
    """Return the words; of Chinese, which has no spaces, each two characters."""
    return {
        part
        for run in re.findall(r"[a-z][a-z0-9]{2,}|[\u4e00-\u9fff]+", folded)
        for part in ([run] if run.isascii() else [run[at : at + 2] for at in range(len(run) - 1)])
    }


def _score(entry: Symptom, asked: str) -> float:
    """Score a name by its length: equal, found in the words, or having them in it."""
    scores = [0.0]
    for name in map(_folded, entry.names):
        if name == asked:
            scores.append(3000.0)
        elif re.search(rf"{_START if name[0].isascii() else ''}{re.escape(name)}(?![a-z])", asked):
            scores.append(1000.0 + len(name))
        elif len(asked) >= _SHORTEST_PART and asked in name:
            scores.append(len(asked) / len(name))
    return max(scores)


def _folded(words: str) -> str:
    """Return words as they are compared: whatever the case, the spaces, and - or _ in a name."""
    plain = " ".join(re.sub(r"[\s_-]+", " ", words).lower().split())
    # 大量 TIME_WAIT and 大量TIME_WAIT are the same.
    return re.sub(r"(?<=[^\x00-\x7f]) | (?=[^\x00-\x7f])", "", plain)


def lines(entry: Symptom, language: Language) -> Iterator[str]:
    """Yield an entry as text."""
    yield heading(entry, language)
    yield from wrapped(said(entry.what, language), _WIDTH, "  ")
    yield f"  {said(_SEE, language)}"
    yield from (f"    {command}" for command in entry.see)
    if entry.wrong is not None:
        yield f"  {said(WRONG, language)}"
        yield from wrapped(said(entry.wrong, language), _WIDTH, "    ")
    if entry.runbook is not None:
        yield f"  {said(RUNBOOK, language)}{runbook_url(entry.runbook)}"


def heading(entry: Symptom, language: Language) -> str:
    """Return the entry's name, with an error's symbol, and its Chinese name if it has one."""
    first, *others = entry.names
    more = [name for name in others if re.fullmatch("E[A-Z]{3,}", name)][:1]
    if language == "zh":
        more += [name for name in others if not name.isascii()][:1]
    text = Text(f" ({', '.join(more)})", f"（{'，'.join(more)}）")
    return first + said(text, language) if more else first
