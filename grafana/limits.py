"""From where on each figure is orange or red: the detectors' defaults, and no other number."""

from grafana.scales import Scale, falling, rising
from sockmon.detect import (
    accept_queue,
    close_wait_leak,
    conntrack_pressure,
    ephemeral_port_pressure,
    orphan_pressure,
    tcp_memory_pressure,
    time_wait_pressure,
)
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.rules.alerting import blind_after
from sockmon.settings import Config

_LEAK = close_wait_leak.Thresholds()
_PORTS = ephemeral_port_pressure.Thresholds()
_TIME_WAIT = time_wait_pressure.Thresholds()
_ORPHANS = orphan_pressure.Thresholds()
_CONNTRACK = conntrack_pressure.Thresholds()
_INTERVAL = Config().poll.interval
_STALE = STALE_AFTER_INTERVALS * _INTERVAL

#: Any at all is worth a look.
ANY_WARNS: Scale = rising(1)
ANY_HURTS: Scale = rising(critical=1)
#: Drops or errors a second: one in a quarter of an hour.
ANY_RATE: Scale = rising(1 / 900)

STALE_SOCKETS = rising(_LEAK.warning_sockets)
CLOSE_WAIT_AGE = rising(_LEAK.stale_after, _LEAK.critical_age)
LEAK_GROWTH_WINDOW = _LEAK.growth_window  # seconds
LEAK_HORIZON = _LEAK.critical_fd_exhaustion  # seconds

TIME_WAIT = rising(_TIME_WAIT.warning_ratio, _TIME_WAIT.critical_ratio)
PORTS = rising(_PORTS.warning_ratio, _PORTS.critical_ratio)
PORTS_RUN_OUT = falling(6 * _PORTS.critical_exhaustion, _PORTS.critical_exhaustion)
ACCEPT_QUEUE = rising(accept_queue.Thresholds().warning_ratio)  # critical is what drops
ORPHANS = rising(_ORPHANS.warning_ratio, _ORPHANS.critical_ratio)
MEMORY_PRESSURE = rising(tcp_memory_pressure.Thresholds().warning_pressure_ratio)
CONNTRACK = rising(_CONNTRACK.warning_ratio, _CONNTRACK.critical_ratio)

#: Past an interval a poll is missed; past three its series are withdrawn.
POLL_SECONDS = rising(_INTERVAL, _STALE)
#: Past this the host's own namespace is blind; another may be waiting its turn.
LAST_SUCCESS = rising(blind_after(Config()))
#: More than one is a roll-out under way, or one that stopped.
MANY_VERSIONS = rising(2)
