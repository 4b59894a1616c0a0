"""From where on each figure is orange or red: the detectors' defaults, and no other number."""

from grafana_foundation_sdk.models.dashboard import Threshold

from grafana.scales import GONE, GREEN, Scale, falling, rising
from sockmon.detect.registry import level
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.rules.alerting import blind_after
from sockmon.settings import Config

_INTERVAL = Config().poll.interval
_STALE = STALE_AFTER_INTERVALS * _INTERVAL

#: Any at all is worth a look.
ANY_WARNS: Scale = rising(1)
ANY_HURTS: Scale = rising(critical=1)
#: Of hosts of which nothing is known.
ANY_GONE: Scale = (Threshold(color=GREEN), Threshold(color=GONE, value=1.0))
#: Drops or errors a second: one in a quarter of an hour.
ANY_RATE: Scale = rising(1 / 900)


def _level(metric: str) -> Scale:
    return rising(*level(metric))


STALE_SOCKETS = _level("sockmon_close_wait_stale_sockets")
CLOSE_WAIT_AGE = _level("sockmon_close_wait_oldest_seconds")
TIME_WAIT = _level("sockmon_time_wait_buckets")
PORTS = _level("sockmon_ephemeral_ports_used_by_busiest_destination")
PORTS_RUN_OUT = falling(*level("sockmon_ephemeral_ports_exhaustion_seconds"))
ACCEPT_QUEUE = _level("sockmon_accept_queue_connections")
ORPHANS = _level("sockmon_orphan_sockets")
MEMORY_PRESSURE = _level("sockmon_tcp_memory_bytes")
CONNTRACK = _level("sockmon_conntrack_entries")

#: Past an interval a poll is missed; past three its series are withdrawn.
POLL_SECONDS = rising(_INTERVAL, _STALE)
#: Past this the host's own namespace is blind; another may be waiting its turn.
LAST_SUCCESS = rising(blind_after(Config()))
#: More than one is a roll-out under way, or one that stopped.
MANY_VERSIONS = rising(2)
