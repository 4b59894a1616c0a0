"""The rule that the guide shows: promtool accepts it, and it tells what it says."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, component

pytestmark = pytest.mark.component("promtool")

CASES = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: sockmon_listening{instance="a",netns="host",protocol="tcp",port="443",scope="any"}
        values: 1x70 0x9 _x60
      - series: sockmon_listening{instance="a",netns="host",protocol="tcp",port="80",scope="any"}
        values: 1x140
      - series: sockmon_listening{instance="a",netns="host",protocol="tcp",port="8080",scope="any"}
        values: 1x3 0x9 _x127
    alert_rule_test:
      - {eval_time: 70m, alertname: ListenerGone, exp_alerts: []}
      - eval_time: 75m
        alertname: ListenerGone
        exp_alerts:
          - exp_labels:
              {instance: a, netns: host, protocol: tcp, port: "443", scope: any, severity: critical}
            exp_annotations: {summary: "a: nothing listens on port 443 any more"}
"""


def test_a_listener_that_has_gone(tmp_path: Path) -> None:
    promtool = component("promtool")
    assert promtool is not None
    guide = (REPOSITORY / "docs/guide.md").read_text()
    (rules,) = re.findall(r"^```yaml\n(groups:.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "rules.yml").write_text(rules)
    (tmp_path / "cases.yml").write_text(CASES)
    for arguments in (["check", "rules", "rules.yml"], ["test", "rules", "cases.yml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
