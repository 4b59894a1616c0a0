"""Alerts, marked on every panel: those of Prometheus's rules and the daemon's own alike."""

from collections.abc import Iterator

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from grafana.panels import DATASOURCE
from grafana.queries import BY_HOST, over_time
from grafana.scales import SEVERITY_COLORS


class AlertAnnotation(AnnotationQuery):
    """An annotation by a Prometheus query; the SDK knows only Grafana's own annotations."""

    def __init__(self, name: str, color: str, expression: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, enable=True, icon_color=color)
        self.query = over_time(expression, "{{alertname}}").ref_id("Anno").build()

    def to_json(self) -> dict[str, object]:
        """Return what packages/grafana-prometheus reads."""
        return {
            **super().to_json(),
            "target": self.query,
            "titleFormat": "{{alertname}}",
            "textFormat": "{{instance}}",
            "tagKeys": "cluster,instance",
        }


def alerts(hosts: str) -> Iterator[AlertAnnotation]:
    """Yield annotations of firing alerts; `hosts`: the label matchers of those looked at.

    One that the daemon and Prometheus both raise is marked once.
    """
    for severity, color in SEVERITY_COLORS.items():
        chosen = f'{hosts},severity="{severity}"'
        yield AlertAnnotation(
            f"{severity.capitalize()} alerts",
            color,
            f"max by ({BY_HOST}, alertname) ("
            f'ALERTS{{alertname=~"Sockmon.+",alertstate="firing",{chosen}}}'
            f' or sockmon_alerts{{state="firing",{chosen}}})',
        )
