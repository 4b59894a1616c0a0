"""What an entry of `sockmon explain` is; symptoms.py and states.py have them."""

from dataclasses import dataclass

from sockmon.language import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Something that people see and search for.

    names: the literal strings, as logs, tools and articles write them; the first is the heading.
    what: what it is. see: commands that show it on this host. wrong: widespread advice that does
    not help, and why. runbook: the alert's name.
    """

    names: tuple[str, ...]
    what: Text
    see: tuple[str, ...]
    wrong: Text | None = None
    runbook: str | None = None
