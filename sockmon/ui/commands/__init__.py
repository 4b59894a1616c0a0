"""The commands, one file each: its options, and what it does with them.

Each loads what it needs only when it runs, so that a light one stays quick.
"""

from sockmon.ui.commands import check_config, count, doctor, drill, netns_helper, rules, run, top
from sockmon.ui.commands.command import Command

#: In the order in which --help lists them.
ALL: tuple[Command, ...] = (
    run.COMMAND,
    count.COMMAND,
    doctor.COMMAND,
    top.COMMAND,
    drill.COMMAND,
    rules.COMMAND,
    check_config.COMMAND,
    netns_helper.COMMAND,
)
