"""`sockmon drill`: the real condition behind an alert, made on purpose."""

import argparse

from sockmon.commands.command import (
    FAILURE,
    HOST_CONFIG,
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_config,
    choose_config,
    discard_output,
    writing,
)
from sockmon.drill import NAMES as DRILLS


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a real condition, within limits and removed afterwards, and watch its alert. "
        f"SCENARIO is one of {', '.join(DRILLS)}; the last five run in a network namespace of "
        "their own, with a daemon of their own, and need root; the last two, whose connections "
        "are counted inside the kernel, also Linux 5.12. Without SCENARIO, list them. Exit "
        "status: 0 done; 1 failed, or not as expected."
    )
    parser.add_argument("scenario", metavar="SCENARIO", nargs="?", choices=DRILLS, type=_as_listed)
    parser.add_argument(
        "--count", metavar="N", type=int, help="connections (default: enough for the alert)"
    )
    parser.add_argument(
        "--hold",
        metavar="SECONDS",
        type=float,
        help="keep them this long (default: until the alert should have fired)",
    )
    parser.add_argument(
        "--expect-alert",
        action="store_true",
        help="watch the alert fire and resolve, and fail if it does not",
    )
    parser.add_argument(
        "--trace",
        action="store_true",
        help="at the end, show the segments of its connections (needs CAP_NET_RAW)",
    )
    parser.add_argument(
        "--url", metavar="URL", help="of this host's daemon (default: http://127.0.0.1:10776)"
    )
    add_config(parser, HOST_CONFIG)


def _as_listed(name: str) -> str:
    """Accept any spelling: CLOSE_WAIT is close-wait."""
    return name.lower().replace("_", "-")


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.commands.drill import run  # noqa: PLC0415 - each command loads what it needs

    if arguments.scenario is None:
        with writing():
            print(run.listing())
        return SUCCESS
    chosen = choose_config(arguments.config)
    options = run.DrillOptions(
        arguments.scenario,
        arguments.count,
        arguments.hold,
        arguments.expect_alert,
        arguments.url,
        chosen.file,
        arguments.trace,
    )
    try:
        return run.run(options, chosen.config)
    except run.DrillRefusedError as error:
        raise UserError(str(error)) from error
    except BrokenPipeError:
        discard_output()
        return FAILURE  # nobody has read the result


COMMAND = Command("drill", "rehearse an alert", _add_options, _run)
