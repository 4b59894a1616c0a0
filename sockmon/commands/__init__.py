"""The commands, one file or folder each: its options, and what it does with them.

Each loads what it needs only when it runs, so that a small one starts quickly.
"""

from sockmon.commands import check_config, events_helper, netns_helper, record, rules, run, top
from sockmon.commands.command import Command
from sockmon.commands.count import options as count
from sockmon.commands.doctor import options as doctor
from sockmon.commands.drill import options as drill
from sockmon.commands.explain import options as explain
from sockmon.commands.trace import options as trace

#: In the order in which --help lists them.
ALL: tuple[Command, ...] = (
    run.COMMAND,
    count.COMMAND,
    doctor.COMMAND,
    top.COMMAND,
    trace.COMMAND,
    explain.COMMAND,
    record.COMMAND,
    drill.COMMAND,
    rules.COMMAND,
    check_config.COMMAND,
    netns_helper.COMMAND,
    events_helper.COMMAND,
)
