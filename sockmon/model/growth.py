"""Growth that a forecast may use: measured long enough, and still going on."""

from collections.abc import Sequence

from sockmon.model.ports import robust_slope

Samples = Sequence[tuple[float, float]]

#: Samples are no nearer to each other: the slopes between all pairs of them are computed.
_SPACING_SECONDS = 2.5
#: The last minute must agree with the window: what has levelled off grows no more.
_LAST_SECONDS = 60.0


def growing(samples: Samples, now: float, window: float, least_seconds: float) -> float | None:
    """Return the growth per second: the lesser of that in the window and in its last minute.

    samples: (monotonic seconds, value), oldest first. 0 if it does not grow; None: not known, since
    it was watched for less than `least_seconds`.
    """
    samples = [sample for sample in samples if now - sample[0] <= window]
    if len(samples) < 2 or samples[-1][0] - samples[0][0] < least_seconds:
        return None
    end = samples[-1][0]
    last = [sample for sample in samples if end - sample[0] <= _LAST_SECONDS]
    slopes = [robust_slope(part) for part in (samples, last) if len(part) > 1]
    return max(0.0, min(slopes))


def added(
    samples: tuple[tuple[float, float], ...], now: float, value: float
) -> tuple[tuple[float, float], ...]:
    """Return the samples with one more; the last but it is left out if it is too near to others."""
    kept = samples
    if len(samples) > 1 and samples[-1][0] - samples[-2][0] < _SPACING_SECONDS:
        kept = samples[:-1]
    return (*kept, (now, value))
