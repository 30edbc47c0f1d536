"""Repairs keep what stands around the edited expressions: comments, layout, syntax of any Python version.

The rules' own examples are dressed up at random before they are repaired. Whatever was put on must be there
afterwards, byte for byte, and the result must be the repaired example in the same dress.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import given, settings, strategies as st

from lorascale_lint.engine import lint
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.report.content import Report
from lorascale_lint.rule import Rule, all_rules
from tests.examples import examples
from tests.test_rule_examples import example

REPAIRED = [rule for rule in all_rules() if rule.fix != "none"]

OLD_SYNTAX = """

@decorated(lambda value: value)
def around(values, *, limit=3):
    def inner(value):
        if (size := len(value)) > limit and \\
                size:  # continued
            return f"{size!r:>{limit}}"
        return value ; pass

    match values:
        case [first, *_] if first is not None:
            return inner(first)
        case {"key": value, **rest}:
            return value
        case _:
            return [inner(v) for v in values if (kept := v)]
"""
NEW_SYNTAX = """

type Pair[T] = tuple[T, T]


def generic[T: int = bool](first: T, *rest: *tuple[T, ...]) -> Pair[T]:
    try:
        return t"{first} and {rest}"
    except* ValueError:
        raise
"""


@st.composite
def dressed(draw: st.DrawFn) -> tuple[Rule, str, list[str], str]:
    """A rule, its bad example with comments and blank lines, the comments, and what follows it."""
    rule = draw(st.sampled_from(REPAIRED))
    rows: list[str] = []
    comments: list[str] = []
    for row in example(rule, "Bad").splitlines():
        indent = row[: len(row) - len(row.lstrip())]
        if row and draw(st.integers(0, 3)) == 0:
            comments.append(f"# before {len(comments)} (Ünïcode * / @)")
            rows.append(indent + comments[-1])
        if row and draw(st.integers(0, 3)) == 0:
            comments.append(f"# behind {len(comments)}")
            row += "  " + comments[-1]
        rows.append(row)
        if not row and draw(st.booleans()):
            rows.append("")
    after = draw(st.sampled_from(["", OLD_SYNTAX, NEW_SYNTAX, OLD_SYNTAX + NEW_SYNTAX]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    tabs = draw(st.booleans())
    text = "\n".join(rows) + "\n"
    if tabs:
        text = re.sub(r"(?m)^( {4})+", lambda spaces: "\t" * (len(spaces[0]) // 4), text)
    text = text.replace("\n", end)
    return rule, text, comments, after.replace("\n", end)


@settings(max_examples=examples(60))
@given(dressed())
def test_a_repair_leaves_everything_else(tmp_path_factory: pytest.TempPathFactory, case) -> None:
    rule, text, comments, after = case
    path: Path = tmp_path_factory.mktemp("dressed") / "lora_layer.py"
    path.write_bytes((text + after).encode())

    def check(overlay: dict[Path, bytes]) -> Report:
        return Report(lint([path], [], overlay=overlay, codes=[rule.code]).findings)

    found = check({}).findings
    if not found and not _is_readable(text + after):
        return  # that a name is read nowhere takes a parser that knows the whole file
    assert len(found) == 1, "the dress does not hide the bug"
    outcome = apply_fixes(check, {path: None}, unsafe=True)
    assert outcome.report.failures == ()
    if found[0].fix is None:
        assert outcome.groups == ()  # a layout that the repair does not understand is left alone
        return
    assert outcome.report.findings == ()
    ((change,),) = outcome.groups
    result = change.after.decode()
    assert result.endswith(after)
    body = result.removesuffix(after)
    for comment in comments:
        assert len(re.findall(re.escape(comment) + r"(?!\d)", body)) == 1, comment
    assert ("\r\n" in body) == ("\r\n" in text)
    assert not re.search(r"(?<!\r)\n" if "\r\n" in text else r"\r", body)
    assert cst.parse_module(change.after).bytes == change.after
    assert _code(body) == _code(example(rule, "Good"))


def _is_readable(text: str) -> bool:
    """Does the Python that runs know the syntax?"""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _code(text: str) -> str:
    """The program without its layout."""
    return ast.unparse(ast.parse(text.expandtabs(4)))
