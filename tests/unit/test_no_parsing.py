"""What a finding says is data: nothing that shows advice or evidence looks for a pattern in it."""

import ast
import re

import pytest

from tests.conftest import REPOSITORY

DATA = {"advice", "evidence", "summary", "command_line", "critical_because"}
#: What takes text apart.
PARSES = {
    "fullmatch", "match", "findall", "finditer", "search", "split", "rsplit", "partition",
    "rpartition", "splitlines", "startswith", "endswith", "removeprefix", "removesuffix", "index",
    "find",
}  # fmt: skip
SCRIPT_PARSES = re.compile(
    r"RegExp|\.(?:match|matchAll|search|split|startsWith|endsWith|exec|test)\(|replace(?:All)?\(/"
)


def names(tree: ast.AST) -> set[str]:
    """Attributes, variables, keywords and keys of a module."""
    found = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.Constant(value=str(name)):
                found.add(name)
    return found


def imports(tree: ast.AST) -> set[str]:
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.fixture(scope="module")
def about_findings() -> dict[str, ast.Module]:
    """The modules that name a part of a finding, and those that make its sentences."""
    found = {}
    for path in (REPOSITORY / "sockmon").rglob("*.py"):
        tree = ast.parse(path.read_text())
        if {"advice", "evidence"} & names(tree) or "sockmon.model.finding" in imports(tree):
            found[path.relative_to(REPOSITORY).as_posix()] = tree
    return found


def test_no_pattern_is_looked_for(about_findings: dict[str, ast.Module]) -> None:
    for path, tree in about_findings.items():
        if {"advice", "evidence"} & names(tree):
            assert "re" not in imports(tree), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                taken_apart = node.func.attr in PARSES and names(node) & DATA
                assert not taken_apart, f"{path}:{node.lineno} takes apart {taken_apart}"


def test_every_face_is_among_them(about_findings: dict[str, ast.Module]) -> None:
    assert about_findings.keys() >= {
        "sockmon/detect/finding_text.py",
        "sockmon/commands/doctor/doctor.py",
        "sockmon/export/findings.py",
        "sockmon/client/parse.py",
        "sockmon/top/pages.py",
        "sockmon/alert/labels.py",
        "sockmon/export/page.py",
    }


def test_the_page_looks_for_none_either() -> None:
    scripts = [*(REPOSITORY / "page" / "src").rglob("*.ts")]
    scripts += (REPOSITORY / "page" / "src").rglob("*.tsx")
    about = [path for path in scripts if re.search(r"\b(?:advice|evidence)\b", path.read_text())]
    assert {path.name for path in about} >= {"evidence.ts", "finding.tsx"}
    for path in about:
        found = SCRIPT_PARSES.search(path.read_text())
        assert found is None, f"{path}: {found and found[0]}"
