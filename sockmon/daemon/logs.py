"""Log lines for a terminal or for journald."""

import logging
import os
import sys
import time

from sockmon.text import one_line

_SYSLOG_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class LineFormatter(logging.Formatter):
    """One line for each record. journald gets a priority (sd-daemon(3)) and adds the time."""

    def __init__(self, *, journald: bool) -> None:
        super().__init__("%(levelname)s %(message)s")
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """Keep names and paths, which others chose, from starting new lines."""
        line = one_line(record.getMessage())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        if self._journald:
            return f"<{_SYSLOG_PRIORITY.get(record.levelno, 6)}>{line}"
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        return f"{at} {record.levelname.lower():7} {line}"


def set_up() -> None:
    """Send log lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(journald="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
