"""One drill as it will be run: how many, for how long, which alert and when. Pure."""

from dataclasses import dataclass

from sockmon.alert.labels import alert_name
from sockmon.detect.registry import thresholds_of
from sockmon.drill.safety_limits import Bound, Resource, tightest
from sockmon.drill.scenarios import SCENARIOS, Scenario, Trouble
from sockmon.drill.timing import Timing
from sockmon.durations import format_duration
from sockmon.model.limits import KernelLimits
from sockmon.settings import Config

#: More than the detector needs, and how many are made when no allowed number is enough.
_MARGIN = 1.2
_MANY = 1000
#: After the alert should have fired, so that people can look at it.
_LINGER_SECONDS = 30.0


class PlanError(Exception):
    """Why a drill cannot be run, in one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be made, and what must happen then.

    hold: seconds. why_no_alert: why these sockets cannot raise the alert, by these limits.
    """

    name: str
    scenario: Scenario
    count: int
    hold: float
    trouble: Trouble
    timing: Timing
    bound: Bound
    why_no_alert: str | None

    @property
    def alert(self) -> str:
        """The name of the alert that the scenario is about."""
        return alert_name(self.scenario.detector)

    @property
    def also(self) -> tuple[str, ...]:
        """Alerts that fire with it."""
        return tuple(map(alert_name, self.scenario.also))


def make_plan(
    name: str,
    config: Config,
    kernel: KernelLimits,
    resources: tuple[Resource, ...],
    count: int | None = None,
    hold: float | None = None,
) -> Plan:
    """Plan the drill; raises PlanError if so many could harm the host.

    config: the daemon's, with its poll interval. kernel: the limits in the drill's namespace.
    """
    scenario = SCENARIOS[name]
    limits = thresholds_of(config.detect)[scenario.detector]
    trouble = scenario.judge(limits, kernel)
    timing = Timing(trouble.onset, config.poll.interval, limits.for_, limits.keep_firing_for)
    bound = tightest(resources, scenario.costs)
    if bound.most < 1:
        raise PlanError(f"there is no room for a drill here: {bound}")
    if count is None:
        enough = max(scenario.usual, int(trouble.needed * _MARGIN) + 1)
        count = enough if enough <= bound.most else min(_MANY, bound.most)
    elif count > bound.most:
        raise PlanError(f"--count: {count} is too many: {bound}")
    why_not = None
    if not limits.enabled:
        why_not = f"{scenario.detector} is disabled in the configuration"
    elif trouble.why_none is not None:
        why_not = trouble.why_none
    elif count < trouble.needed:
        why_not = f"{scenario.detector} needs {trouble.needed} with these limits"
    elif timing.latest > trouble.lasts:
        why_not = (
            f"the kernel ends them after {lasting(trouble.lasts)}, and the alert takes "
            f"{lasting(timing.latest)}"
        )
    if hold is None:
        hold = min(timing.latest + _LINGER_SECONDS, trouble.lasts)
    return Plan(name, scenario, count, hold, trouble, timing, bound, why_not)


def must_alert(plan: Plan, *, hold_given: bool) -> None:
    """Check that the alert can be waited for; raises PlanError."""
    if plan.why_no_alert is not None:
        raise PlanError(f"--expect-alert: {plan.count} raise no {plan.alert}: {plan.why_no_alert}")
    if hold_given and plan.hold < plan.timing.latest:
        raise PlanError(
            f"--hold: {lasting(plan.hold)} is too short for --expect-alert: {plan.alert} takes "
            f"up to {lasting(plan.timing.latest)}"
        )


def announcement(plan: Plan, daemon: str, *, until_alert: bool) -> list[str]:
    """Return the lines that say what will be done, and what to expect.

    daemon: its description. until_alert: the sockets are held until the alert fires.
    """
    where = "in its own network namespace" if plan.scenario.own_namespace else "on loopback"
    lines = [
        f"drill {plan.name}, {where}:",
        f"  {plan.scenario.does.format(count=plan.count)}",
        f"  held {'until it fires' if until_alert else f'for {lasting(plan.hold)}'}, then closed",
        f"  daemon: {daemon}",
    ]
    timing = plan.timing
    resolves = timing.resolves + plan.scenario.remembers
    if plan.why_no_alert is not None:
        lines.append(f"  expect: no alert, {plan.why_no_alert}")
    elif plan.scenario.quiet:
        lines.append(f"  expect: no {plan.alert} for it: it would come after {_when(timing)}")
    else:
        lines.append(f"  expect: {plan.alert} after {_when(timing)}")
        lines.append(f"          resolved about {lasting(resolves)} after they are closed")
        if plan.also:
            lines.append(f"          {', '.join(plan.also)} with it, for the same connections")
    if plan.scenario.lingers:
        lines.append(
            f"  the kernel keeps them for {lasting(plan.scenario.lingers)} after that in any case"
        )
    lines.append(f"  limit: {plan.bound}")
    return lines


def _when(timing: Timing) -> str:
    parts = [f"{lasting(timing.onset)} until the detector finds it"] if timing.onset else []
    parts += [f"two polls of {lasting(timing.interval)}", f"{lasting(timing.for_)} of `for`"]
    return f"about {lasting(timing.latest)} ({' + '.join(parts)})"


def lasting(seconds: float) -> str:
    """Return a duration, to a tenth of a second if it is short: 1m30s, 1s500ms."""
    return format_duration(round(seconds, 1 if seconds < 10 else 0))
