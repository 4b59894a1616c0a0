"""--lang, which several commands have."""

import argparse
import os
import sys

from sockmon.commands.command import UserError
from sockmon.language import LANGUAGES, Language, preferred


def add_language(parser: argparse.ArgumentParser) -> None:
    """Add --lang."""
    parser.add_argument(
        "--lang", choices=LANGUAGES, help="English or Chinese (default: as LANG says, else en)"
    )


def language(arguments: argparse.Namespace) -> Language:
    """Return what to write in; raises UserError if the output's encoding has no Chinese."""
    wanted: Language = arguments.lang or preferred(os.environ)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if wanted == "zh" and not _has_chinese(encoding):
        if arguments.lang is None:
            return "en"
        raise UserError(
            f"--lang zh: the output's encoding, {encoding}, has no Chinese: set LANG=zh_CN.UTF-8"
        )
    return wanted


def _has_chinese(encoding: str) -> bool:
    try:
        "严重：半连接".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
