"""Which targets the rules are about."""

import re
from pathlib import Path

import pytest

from sockmon.rules import alerting, recording
from sockmon.rules.selector import SOCKMON, Selector
from sockmon.settings import Config
from tests.deploy.promtool import rules_of, run

GOOD = {
    'job="sockmon"': ('job="sockmon"',),
    ' job =~ "sockmon.*" , env!="dev", ': ('job=~"sockmon.*"', 'env!="dev"'),
    "job!~'a|b',_x=`c\\d`": ("job!~'a|b'", "_x=`c\\d`"),
    'job="a, b=\\"c\\" {}"': ('job="a, b=\\"c\\" {}"',),
    'job=~"é.+",job!="é1"': ('job=~"é.+"', 'job!="é1"'),
}

BAD = {
    "": "expected label matchers",
    "job": "at 'job'",
    "job=sockmon": "at 'job=sockmon'",
    '{job="a"}': "expected label matchers",
    'job="a" env="b"': "expected label matchers",
    'job="a",,env="b"': """at ',env="b"'""",
    ',job="a"': "expected label matchers",
    'job="a': "expected label matchers",
    'job="a"}': "expected label matchers",
    'job=="a"': "expected label matchers",
    'job="a\\d"': "expected label matchers",
    '1b="a"': "expected label matchers",
    'job="a"\n': "printable",
    'job="\udcff"': "printable",
    '__name__="up"': "__name__ is no label of a target",
    'job="a",netns="host"': "netns is no label of a target",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_selector_is_read(text: str) -> None:
    assert Selector.parse(text).matchers == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_one_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(BAD[text])) as refused:
        Selector.parse(text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.component("promtool")
@pytest.mark.parametrize("text", GOOD)
def test_promtool_accepts_what_is_accepted(tmp_path: Path, text: str) -> None:
    selector = Selector.parse(text)
    (tmp_path / "alerts.yml").write_text(alerting.render(Config(), selector))
    (tmp_path / "recording.yml").write_text(recording.render(selector))
    run("promtool", "check", "rules", "alerts.yml", "recording.yml", directory=tmp_path)


def test_every_metric_of_every_rule_has_it() -> None:
    selector = Selector(('job="j"', 'env="e"'))
    alerts = rules_of(alerting.render(Config(), selector))
    for rule in [*alerts, *rules_of(recording.render(selector))]:
        metrics = re.findall(r"\b(?:up|(?:sockmon|process)_\w+)\b(?!\")", rule["expr"])
        selected = re.findall(r"\w+\{job=\"j\",env=\"e\"[,}]", rule["expr"])
        assert len(selected) == len(metrics) > 0, rule["expr"]


def test_the_default_is_the_job_of_the_scrape_configuration() -> None:
    assert Selector.parse('job="sockmon"') == SOCKMON
