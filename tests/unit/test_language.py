"""What people read exists in English and Chinese."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.detect.registry import ALL
from sockmon.language import Text, columns, joined, preferred, said, wrapped
from tests.conftest import REPOSITORY

CHINESE = re.compile("[\u4e00-\u9fff，。；：、（）]")
PUNCTUATION = "，。；：、）"


def literal(node: ast.expr) -> str | None:
    """What of a text is written in the source; None: it is computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    return None


def texts() -> list[tuple[str, str, str | None]]:
    """Every Text in the source: where, the words of its English, and of its Chinese."""
    found = []
    for path in sorted((REPOSITORY / "sockmon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Text"), args=[en, *zh]) if literal(en):
                    where = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
                    found.append((where, literal(en) or "", literal(zh[0]) if zh else None))
    return found


def test_every_text_has_its_chinese() -> None:
    counted = texts()
    assert len(counted) > 200
    without = [
        where
        for where, en, zh in counted
        if re.search("[a-z]{2}", en) and not (zh and CHINESE.search(zh))
    ]
    assert without == []


def test_chinese_uses_its_own_punctuation() -> None:
    wrong = re.compile("[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]")
    allowed = re.compile(r"\(\)[\u4e00-\u9fff]")  # a call, close()
    for where, _, zh in texts():
        assert not wrong.search(allowed.sub("", zh or "")), (where, zh)


def test_the_titles_differ() -> None:
    for language in ("en", "zh"):
        assert len({said(detector.title, language) for detector in ALL}) == len(ALL)


def test_a_text_is_its_english_and_has_its_chinese() -> None:
    text = Text("port 80", "端口 80") + Text(": full", "：已满") + "!"
    assert (text, said(text, "en"), said(text, "zh")) == ("port 80: full!",) * 2 + (
        "端口 80：已满!",
    )
    assert Text(text).zh == text.zh
    assert said("nginx", "zh") == Text("nginx").zh == "nginx"
    assert joined([Text("a", "甲"), "b"], ", ", "、").zh == "甲、b"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "zh:en"}, "zh"),
        ({"LANG": "C", "LANGUAGE": "zh"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN.GBK"}, "zh"),
    ],
)
def test_the_language_of_a_locale(environment: dict[str, str], language: str) -> None:
    assert preferred(environment) == language


def test_a_wrapped_chinese_text() -> None:
    lines = list(wrapped("nginx 没有调用 accept()，队列已满。", 16, "  - "))
    assert lines == ["  - nginx 没有调", "    用", "    accept()，队", "    列已满。"]


@given(
    st.text("ab -(中文，。；)x", max_size=80).map(str.strip),
    st.integers(12, 60),
    st.sampled_from(["", "  ", "  - "]),
)
def test_wrapping_loses_nothing(text: str, width: int, lead: str) -> None:
    lines = list(wrapped(text, width, lead))
    assert "".join(lines).replace(" ", "") == (lead + text).replace(" ", "")
    for line in lines[1:]:
        assert line.strip()[0] not in PUNCTUATION
    for line in lines:
        # A word, and closing marks behind a wide character, are never divided.
        assert columns(line) <= width or not re.search(" ", line.removeprefix(lead).strip())
