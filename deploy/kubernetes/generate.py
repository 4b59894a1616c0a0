"""Write the PrometheusRules and the dashboards' ConfigMaps from deploy/prometheus and grafana.

python deploy/kubernetes/generate.py           # write them
python deploy/kubernetes/generate.py --check   # exit 1 if they are not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import json
import sys
import textwrap
from pathlib import Path

import yaml

_HERE = Path(__file__).parent
_RULES = _HERE.parent / "prometheus" / "rules"
_DASHBOARDS = _HERE.parents[1] / "grafana" / "dashboards"
_COMPONENTS = _HERE / "components"

_HEADER = "# Written by deploy/kubernetes/generate.py from {}: change it there.\n"

_RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: sockmon
spec:
"""


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated objects, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    files = (
        (_COMPONENTS / "prometheus-operator" / "prometheusrules.yaml", _prometheus_rules()),
        (_COMPONENTS / "grafana" / "dashboards.yaml", _dashboards()),
    )
    stale = [path for path, text in files if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            sys.stderr.write(f"{path} is not current: run {Path(__file__).name}\n")
        return bool(stale)
    for path, text in files:
        path.write_text(text)
    return 0


def _prometheus_rules() -> str:
    """Return an object for each rule file, whose text it holds as it is."""
    return _HEADER.format("deploy/prometheus/rules") + "---\n".join(
        _RULE.format(name=path.stem) + textwrap.indent(path.read_text(), "  ")
        for path in sorted(_RULES.glob("*.yml"))
    )


def _dashboards() -> str:
    """Return a ConfigMap for each dashboard: together they may be too large for one."""
    return _HEADER.format("grafana/dashboards") + "---\n".join(
        _config_map(path) for path in sorted(_DASHBOARDS.glob("*.json"))
    )


def _config_map(dashboard: Path) -> str:
    # In one line: `kubectl apply` keeps a copy in an annotation, and all are 256 KiB at most.
    text = json.dumps(json.loads(dashboard.read_text()), separators=(",", ":"))
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"sockmon-dashboard-{dashboard.stem.removeprefix('sockmon-')}",
            "labels": {"app.kubernetes.io/name": "sockmon", "grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "sockmon"},
        },
        "data": {dashboard.name: text},
    }
    return yaml.safe_dump(config_map, sort_keys=False, width=sys.maxsize)


if __name__ == "__main__":
    sys.exit(main())
