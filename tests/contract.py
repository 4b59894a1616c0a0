"""What docs/ says that sockmon sends: the schemas of docs/api/, the families of docs/metrics.md."""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from prometheus_client import Metric

from tests.conftest import REPOSITORY

API = REPOSITORY / "docs" / "api"
METRICS = REPOSITORY / "docs" / "metrics.md"


class Published(NamedTuple):
    """A family as a query sees it."""

    name: str
    kind: str
    labels: frozenset[str]


def schema(name: str) -> Any:
    return json.loads((API / f"{name}.schema.json").read_text())


def assert_valid(name: str, message: object) -> None:
    """Fail with every place in which the message, as JSON, is not what its schema says."""
    validator = Draft202012Validator(schema(name))
    sent = json.loads(json.dumps(message, allow_nan=False))
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(sent)]
    assert errors == []


def documented() -> set[Published]:
    """The rows of the page's tables of families."""
    rows = re.findall(
        r"^\| `(\w+)` \| (gauge|counter|histogram) \| [^|]+ \| ([^|]*) \|",
        METRICS.read_text(),
        re.MULTILINE,
    )
    return {
        Published(name, kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in rows
    }


def published(families: Iterable[Metric]) -> set[Published]:
    """The same of families that were rendered."""
    return {
        Published(
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels),
        )
        for family in families
    }
