"""--replay: a recording in place of this host's kernel."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sockmon.commands.command import UserError, for_caller, load_config

if TYPE_CHECKING:
    from sockmon.commands.config_choice import Chosen
    from sockmon.recording.playback import Playback
    from sockmon.settings import Config


def add_replay(parser: argparse.ArgumentParser) -> None:
    """Add --replay."""
    parser.add_argument(
        "--replay",
        metavar="FILE",
        type=Path,
        help="read a recording of sockmon record, not this host's kernel",
    )


@contextmanager
def replaying(file: Path | None) -> "Iterator[Playback | None]":
    """Open the recording, None if none is named; raises UserError, also in the middle of it."""
    if file is None:
        yield None
        return
    from sockmon.recording.file import RecordingError  # noqa: PLC0415 - only a recording needs it
    from sockmon.recording.playback import Playback  # noqa: PLC0415 - as above

    try:
        playback = Playback(file)
        try:
            yield playback
        finally:
            playback.close()
    except RecordingError as error:
        raise UserError(str(error)) from error


def config_of(playback: "Playback", file: Path | None) -> "Chosen":
    """Return the configuration in the file, else the recorded host's thresholds."""
    from sockmon.commands.config_choice import Chosen  # noqa: PLC0415 - each command loads its own
    from sockmon.recording.playback import recorded_detect  # noqa: PLC0415 - as above

    config = of_recording(load_config(file), playback)
    if file is None:
        config = replace(config, detect=recorded_detect(playback.head))
    its = playback.head
    about = (
        f"a recording of {playback.times[-1]:.0f} s, by sockmon {its.sockmon} on Linux {its.kernel}"
    )
    return Chosen(config, file, about)


def of_recording(config: "Config", playback: "Playback") -> "Config":
    """Leave out what is of this host: its other namespaces, its helpers, and the daemon's state."""
    config = for_caller(config)
    return replace(
        config,
        poll=replace(config.poll, namespaces="host"),
        events=replace(config.events, enabled=playback.events is not None),
        state_dir=None,
    )
