"""What doctor's verdict says although nothing was found."""

from sockmon.commands.doctor.summary import reservation
from sockmon.model.moment import Moment, Timed
from sockmon.model.names import HOST
from sockmon.model.observation import Diagnosis, NamespaceObservation


def of(name: str, kept_alive: int) -> NamespaceObservation:
    diagnosis = Diagnosis((), {}, (), 0.0, kept_alive_close_wait=kept_alive, stale_after=60.0)
    return NamespaceObservation(name, diagnosis=Timed(diagnosis, Moment(0.0, 0.0)))


def test_ages_that_keepalive_hides_are_known_to_a_daemon_that_has_watched_the_host() -> None:
    known = [reservation([of(HOST, 9)], watched) for watched in (0.0, 119.0, 120.0)]
    assert [text and "keepalive" in text for text in known] == [True, True, None]


def test_of_other_namespaces_they_are_not() -> None:
    text = reservation([of(HOST, 9), of("orders", 7)], 120.0)
    assert text is not None
    assert text.startswith("7 sockets in CLOSE_WAIT have keepalive")
