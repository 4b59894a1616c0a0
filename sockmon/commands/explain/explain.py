"""Words -> the entries that they mean, and those as text. Pure."""

import difflib
import re
from collections.abc import Iterator
from errno import errorcode

from sockmon.alert.labels import runbook_url
from sockmon.commands.explain.states import STATES
from sockmon.commands.explain.symptom import Symptom
from sockmon.commands.explain.symptoms import SYMPTOMS
from sockmon.detect.registry import ALL
from sockmon.language import Language, Text, said, wrapped

ENTRIES: tuple[Symptom, ...] = (*SYMPTOMS, *STATES)

_WIDTH = 92
#: From a whole line of a log, this much is compared.
_LONGEST = 1000
#: A part of a name, such as "bucket table", is as long as this.
_SHORTEST_PART = 4
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
        return [entry for entry in ENTRIES if entry.runbook == detector.alert]
    scored = [(_score(entry, asked), entry) for entry in ENTRIES]
    best = max(score for score, _ in scored)
    return [entry for score, entry in scored if score == best] if best > 0 else []


def nearest(words: str) -> str | None:
    """Return the name that is most like the words."""
    names = {_folded(name): name for entry in ENTRIES for name in entry.names}
    close = difflib.get_close_matches(_folded(words[:_LONGEST]), names, n=1)
    return names[close[0]] if close else None


def _score(entry: Symptom, asked: str) -> float:
    """Score a name by its length: equal, found in the words, or having them in it."""
    scores = [0.0]
    for name in map(_folded, entry.names):
        if name == asked:
            scores.append(3000.0)
        elif re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", asked):
            scores.append(1000.0 + len(name))
        elif len(asked) >= _SHORTEST_PART and asked in name:
            scores.append(len(asked) / len(name))
    return max(scores)


def _folded(words: str) -> str:
    """Return words as they are compared: whatever the case, the spaces, and - or _ in a name."""
    return " ".join(re.sub(r"[\s_-]+", " ", words).lower().split())


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
