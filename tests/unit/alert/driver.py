"""A process with an AlertManager in it, to be killed: `... -m tests.unit.alert.driver STATE URL N`.

Its clock is N seconds ahead. Polls 50 times a second. Its condition is there while the file `found`
stands beside STATE; as in the daemon, the first poll after a start finds nothing. Writes a line
when it has polled.
"""

import logging
import sys
import time
from pathlib import Path

from sockmon.alert.lifecycle import FixedWaits
from sockmon.alert.manager import AlertManager
from sockmon.alert.settings import Alerting, WebhookSettings
from sockmon.clock import now
from sockmon.model.moment import Moment
from sockmon.state.file import StateFile, boot_id
from sockmon.state.store import StateStore
from tests.unit.alert.making import DETECTOR, finding

FOR = 3600.0


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    path, url, ahead = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

    def clock() -> Moment:
        moment = now()
        return Moment(moment.monotonic + ahead, moment.wall + ahead)

    manager = AlertManager(
        Alerting(webhook=WebhookSettings(urls=(url,))),
        {DETECTOR: FixedWaits(FOR, 0.0)},
        StateStore(StateFile(path, boot_id()), clock().monotonic),
    )
    polls = 0
    while True:
        found = polls > 0 and path.with_name("found").exists()
        manager.observe([finding()] if found else [], clock(), 0.02)
        polls += 1
        sys.stdout.write(f"{polls}\n")
        sys.stdout.flush()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
