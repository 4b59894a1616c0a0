"""English and Chinese: a sentence is written in both where it is made, as one value."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Self, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

#: What stands beside a name or a number, and not beside another Chinese word.
_BETWEEN_IDEOGRAPHS = re.compile("(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
#: English has a space here (SI), Chinese has none.
_BEFORE_PERCENT = re.compile(r"(?<=\d) (?=%)")

#: No line begins with one of these.
_CLOSING = "，。；：、）！？》」"


class Text(str):
    """An English text with its Chinese; code that knows no languages uses it as an English str.

    Without `zh` it is the same in both, as names and numbers are.
    """

    __slots__ = ("zh",)
    zh: str

    def __new__(cls, en: str, zh: str | None = None) -> Self:
        """Take both."""
        text = super().__new__(cls, en)
        text.zh = chinese(en) if zh is None else _as_chinese(zh)
        return text

    def __add__(self, more: str) -> "Text":
        """Append in both languages."""
        return Text(str.__add__(self, more), self.zh + chinese(more))


def _as_chinese(text: str) -> str:
    """Set the spaces as Chinese does: what is put into a sentence may be written for English."""
    return _BEFORE_PERCENT.sub("", _BETWEEN_IDEOGRAPHS.sub("", text))


def chinese(text: str) -> str:
    """Return the Chinese of a text; a str that is no Text is the same in both languages."""
    return text.zh if isinstance(text, Text) else text


def said(text: str, language: Language) -> str:
    """Return a text in a language."""
    return chinese(text) if language == "zh" else text


def joined(texts: Iterable[str], en: str, zh: str) -> Text:
    """Join texts by what separates them in English, and in Chinese."""
    texts = tuple(texts)
    return Text(en.join(texts), zh.join(map(chinese, texts)))


def preferred(environment: Mapping[str, str]) -> Language:
    """Return the language of messages (man 7 locale: LC_ALL, LC_MESSAGES, LANG; LANGUAGE first)."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((value for name in names if (value := environment.get(name))), "")
    if locale not in ("", "C", "POSIX") and not locale.startswith("C."):
        locale = environment.get("LANGUAGE") or locale
    return "zh" if locale.startswith("zh") else "en"


def wrapped(text: str, width: int, lead: str = "") -> Iterator[str]:
    """Break a text into lines of so many columns; `lead` begins the first and indents the others.

    Between words, and around each wide character (UAX #14: class ID), but before no closing mark.
    """
    line, used, indent = lead, columns(lead), " " * columns(lead)
    for part in _parts(text):
        if used + columns(part.rstrip()) > width and line.strip() and line != lead:
            yield line.rstrip()
            line = indent
        line += part if line != indent else part.lstrip()
        used = columns(line)
    yield line.rstrip()


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _parts(text: str) -> Iterator[str]:
    """Divide a text where a line may end; spaces are at the ends of parts."""
    part = ""
    for c in text:
        wide = unicodedata.east_asian_width(c) in "WF"
        ends = (
            part.endswith(" ") or wide or (part and unicodedata.east_asian_width(part[-1]) in "WF")
        )
        if part and ends and c not in _CLOSING and c != " ":
            yield part
            part = ""
        part += c
    if part:
        yield part
