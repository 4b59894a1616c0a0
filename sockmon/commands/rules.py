"""`sockmon rules`: rules for Prometheus."""

import argparse
import sys

from sockmon.commands.command import (
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_config,
    load_config,
    writing,
)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print Prometheus alert rules with this configuration's thresholds, or recording rules."
    )
    parser.add_argument(
        "--recording", action="store_true", help="print the recording rules instead"
    )
    parser.add_argument(
        "--selector",
        metavar="SELECTOR",
        help='label matchers of sockmon\'s targets (default: job="sockmon")',
    )
    parser.add_argument(
        "--runbooks", metavar="URL", help="where the runbooks are (default: sockmon's own)"
    )
    add_config(parser)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.rules import alerting  # noqa: PLC0415 - each command loads what it needs

    config = load_config(arguments.config)
    try:
        selector = alerting.parse_selector(arguments.selector)
        runbooks = alerting.parse_runbooks(arguments.runbooks)
    except ValueError as error:
        raise UserError(str(error)) from error
    if arguments.recording:
        text = alerting.render_recording(selector)
    else:
        text = alerting.render(config, selector, runbooks)
    with writing():
        sys.stdout.write(text)
    return SUCCESS


COMMAND = Command("rules", "print Prometheus rules", _add_options, _run)
