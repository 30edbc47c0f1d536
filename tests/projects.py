"""Small projects in memory and on disk, for the tests of the analysis stages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from textwrap import dedent

from lorascale_lint.engine import LintResult, lint
from lorascale_lint.findings import Finding
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.report.content import Report
from lorascale_lint.rule import Rule
from tests.test_rule_examples import example


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write sources into ``folder``, which becomes a project of its own; the paths in order."""
    (folder / "pyproject.toml").touch()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text), newline="")
    return [folder / name for name in files]


def write_bad_examples(folder: Path, rules: Iterable[Rule]) -> list[Path]:
    """Write the bad example of each rule into the folder of its family, such as ``LS1``; the paths."""
    return write_files(
        folder, {f"{rule.code[:3]}/{rule.name.replace('-', '_')}.py": example(rule, "Bad") for rule in rules}
    )


def lint_files(
    folder: Path, files: Mapping[str, str], *, codes: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Findings of all rules in sources on disk, of which none may fail to parse."""
    result = lint(write_files(folder, files), [], codes=codes)
    assert result.failures == ()
    return result.findings


def fix_files(
    folder: Path, files: Mapping[str, str], *, codes: Collection[str] | None = None, unsafe: bool = False
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Sources on disk after all rounds of fixes, by name, and the findings of all rules that are left.

    Fails if a fix does not parse, is not usable, or does not come to an end.
    """
    paths = write_files(folder, files)

    def check(overlay: Mapping[Path, bytes]) -> Report:
        return Report(lint(paths, [], overlay=overlay, codes=codes).findings)

    outcome = apply_fixes(check, dict.fromkeys(paths), unsafe=unsafe)
    assert outcome.report.failures == ()
    after = {change.path: change.after for group in outcome.groups for change in group}
    texts = {name: after.get(folder / name, (folder / name).read_bytes()).decode() for name in files}
    return texts, lint(paths, [], overlay=after).findings


def places(result: LintResult | Collection[Finding], folder: Path) -> list[tuple[str, int, str]]:
    """Findings as (file, row, code), sorted."""
    found = result.findings if isinstance(result, LintResult) else result
    return sorted(
        (Path(item.span.filename).relative_to(folder).as_posix(), item.span.start.row, item.code)
        for item in found
    )


LORA_CONV = """
import torch
import torch.nn.functional as F
from torch import nn


class LoRAConv(nn.Module):
    def __init__(self, conv, r, lora_alpha):
        super().__init__()
        self.conv = conv
        self.merged = False
        self.lora_A = nn.Parameter(torch.zeros(r, conv.in_channels))
        self.lora_B = nn.Parameter(torch.zeros(conv.out_channels, r))
        self.scaling = lora_alpha / r

    def delta(self):
        return (self.lora_B @ self.lora_A).view(self.conv.weight.shape) * self.scaling
"""
"""A convolution with factors and their delta, without the methods that apply it."""
