"""Every rule's page is a test: bad fires once, good is silent, the repaired bad is the good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from lorascale_lint.rule import Rule, all_rules
from lorascale_lint.sources.text import SourceText

SECTIONS = (
    "What it finds", "Why it is wrong", "Effect", "Bad", "Good", "Fix safety", "Limits", "References",
)  # fmt: skip
RULES = all_rules()


def example(rule: Rule, section: str) -> str:
    """The fenced block of a section of the rule's page."""
    found = re.search(rf"## {section}\n+```python\n(.*?)```", rule.page(), re.S)
    assert found, f"{rule.code} has no example under {section}"
    return found.group(1)


def findings(source: str, folder: Path, *codes: str) -> tuple[Finding, ...]:
    """Lint one file."""
    path = folder / "lora_example.py"
    path.write_text(source)
    result = lint([path], [], codes=codes or None)
    assert not result.failures
    return result.findings


def apply(source: str, finding: Finding) -> str:
    """The source with the finding's fix applied."""
    assert finding.fix is not None
    text = SourceText.decode(source.encode())
    for edit in sorted(finding.fix.edits, reverse=True):
        start, end = text.offset(edit.span.start), text.offset(edit.span.end)
        source = source[:start] + edit.content + source[end:]
    return source


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_page_has_every_section(rule: Rule) -> None:
    headings = re.findall(r"^## (.*)$", rule.page(), re.M)
    assert tuple(headings) == SECTIONS
    assert not rule.summary().endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_copy_of_the_bad_example_is_reported_too(rule: Rule, tmp_path: Path) -> None:
    copies = [tmp_path / "lora_a.py", tmp_path / "lora_b.py"]
    for copy in copies:
        copy.write_text(example(rule, "Bad"))
    found = lint(copies, [], codes=[rule.code]).findings
    assert [finding.span.filename for finding in found] == [str(copy) for copy in copies]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_bad_example_fires_once(rule: Rule, tmp_path: Path) -> None:
    found = findings(example(rule, "Bad"), tmp_path, rule.code)
    assert [finding.code for finding in found] == [rule.code]
    assert found[0].trace, "a finding explains itself"
    assert (found[0].fix is not None) == (rule.fix != "none")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_good_example_is_silent(rule: Rule, tmp_path: Path) -> None:
    assert findings(example(rule, "Good"), tmp_path) == ()


@pytest.mark.parametrize("rule", [r for r in RULES if r.fix != "none"], ids=lambda rule: rule.name)
def test_fixed_bad_equals_good(rule: Rule, tmp_path: Path) -> None:
    bad = example(rule, "Bad")
    (finding,) = findings(bad, tmp_path, rule.code)
    assert apply(bad, finding) == example(rule, "Good")


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_each_file_registers_one_rule() -> None:
    folder = Path(__file__).parent.parent / "rules"
    files = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    assert {type(rule).__module__.rpartition(".")[2] for rule in RULES} == files
    assert {rule.name.replace("-", "_") for rule in RULES} == files


def test_int_of_another_value_in_the_same_statement_is_not_alpha(tmp_path: Path) -> None:
    """Terms hold what their variables were bound to: ``rank`` is part of the value of ``alpha`` here."""
    source = """
def merge(lora_parts):
    rank = int(lora_parts.get("rank", 8).item())
    alpha = float(lora_parts.get("alpha", rank))
    return alpha / rank
"""
    assert findings(source, tmp_path) == ()


def test_an_unreadable_file_does_not_stop_the_rules(tmp_path: Path) -> None:
    broken = tmp_path / "lora_broken.py"
    broken.write_text("from lora_example import (\n")
    source = example(next(rule for rule in RULES if rule.name == "unscaled-merge"), "Bad")
    path = tmp_path / "lora_example.py"
    path.write_text("import lora_broken\n" + source)
    result = lint([path, broken], [])
    assert [finding.name for finding in result.findings] == ["unscaled-merge"]
    assert [(item.code, item.filename) for item in result.failures] == [("LS001", str(broken))]
