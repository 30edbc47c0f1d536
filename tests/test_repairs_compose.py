"""Repairs of all rules together, on several bugs in one project, in any dress.

The bad examples of the rules' pages are the code. They are dressed with comments, blank lines, tabs, other
line ends, encodings, a byte order mark or no last line end, put into one project, and repaired with all rules
at once. What a person relies on must hold whatever is drawn.
"""

from __future__ import annotations

import ast
import codecs
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import Phase, event, given, settings, strategies as st

from lorascale_lint.engine import lint
from lorascale_lint.fixing.apply import Outcome, apply_fixes
from lorascale_lint.report.content import Report
from lorascale_lint.rule import all_rules
from tests.examples import examples
from tests.projects import lint_files
from tests.test_rule_examples import example

BAD = {rule.code: example(rule, "Bad") for rule in all_rules()}


@dataclass(frozen=True)
class Dressed:
    """The bytes of one file, its encoding, and the comments that were put into it."""

    code: str
    data: bytes
    encoding: str
    comments: tuple[str, ...]

    def text(self, data: bytes) -> str:
        return data.removeprefix(codecs.BOM_UTF8).decode(self.encoding)


@st.composite
def dressed(draw: st.DrawFn) -> Dressed:
    """One bad example in some dress."""
    code = draw(st.sampled_from(sorted(BAD)))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-8-sig"]))
    comments: list[str] = []
    rows = [f"# -*- coding: {encoding} -*-"] if encoding == "latin-1" else []
    density = draw(st.integers(2, 8))
    for row in BAD[code].splitlines():
        indent = row[: len(row) - len(row.lstrip())]
        chance = draw(st.integers(0, density)) if row else density
        if chance == 0:
            comments.append(f"# {code} above {len(comments)} (é * / @)")
            rows.append(indent + comments[-1])
        if chance == 1:
            comments.append(f"# {code} behind {len(comments)}")
            row += "  " + comments[-1]
        if chance == 2:
            rows.append("")
        rows.append(row)
    text = "\n".join(rows) + draw(st.sampled_from(["\n", "", "\n\n\n", "\n# last\n"]))
    if draw(st.booleans()):
        text = re.sub(r"(?m)^( {4})+", lambda spaces: "\t" * (len(spaces[0]) // 4), text)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
    data = text.encode("utf-8" if encoding == "utf-8-sig" else encoding)
    if encoding == "utf-8-sig":
        data = codecs.BOM_UTF8 + data
    return Dressed(code, data, "utf-8" if encoding == "utf-8-sig" else encoding, tuple(comments))


def repaired(paths: Mapping[Path, bytes], *, unsafe: bool) -> tuple[Outcome, Report]:
    """What all rounds do to files, and the first report."""
    reports: list[Report] = []

    def check(overlay: Mapping[Path, bytes]) -> Report:
        reports.append(Report(lint(list(paths), [], overlay=overlay).findings))
        return reports[-1]

    return apply_fixes(check, paths, unsafe=unsafe), reports[0]


@settings(
    max_examples=examples(25),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each case is a run; smaller ones are no clearer
)
@given(st.lists(dressed(), min_size=1, max_size=3), st.booleans())
def test_repairs_keep_their_promises(
    tmp_path_factory: pytest.TempPathFactory, files: list[Dressed], unsafe: bool
) -> None:
    folder = tmp_path_factory.mktemp("project")
    before = {folder / f"lora_{number}.py": file.data for number, file in enumerate(files)}
    outcome, first = repaired(before, unsafe=unsafe)
    after = dict(before) | {change.path: change.after for group in outcome.groups for change in group}
    for number, file in enumerate(files):
        event(f"{file.code} {'changed' if after[folder / f'lora_{number}.py'] != file.data else 'left'}")

    assert outcome.report.failures == (), "no repair breaks a file, or goes on for ever"
    for path, file in zip(before, files, strict=True):
        _check_text(file, after[path])

    left = outcome.report.findings
    wanted = ("safe", "unsafe") if unsafe else ("safe",)
    assert [found for found in left if found.fix and found.fix.applicability in wanted] == []
    hopeless = Counter(
        (found.span.filename, found.code)
        for found in first.findings
        if found.fix is None or found.fix.applicability not in wanted
    )
    remaining = Counter((found.span.filename, found.code) for found in left)
    assert remaining <= hopeless, "what was offered a repair is reported no more"

    again, _ = repaired(after, unsafe=unsafe)
    assert again.groups == (), "a second time changes nothing"


def _check_text(file: Dressed, data: bytes) -> None:
    """The file is whole, in its own dress, with every comment in it."""
    if data == file.data:
        return
    assert data.startswith(codecs.BOM_UTF8) == file.data.startswith(codecs.BOM_UTF8)
    assert cst.parse_module(data).bytes == data
    text, old = file.text(data), file.text(file.data)
    ast.parse(data)
    for comment in file.comments:
        assert len(re.findall(re.escape(comment) + r"(?!\d)", text)) == 1, comment
    end = "\r\n" if "\r\n" in old else "\n"
    assert not re.search(r"(?<!\r)\n" if end == "\r\n" else r"\r", text)
    assert text.endswith("\n") == old.endswith("\n")
    if "\t" in old:
        new = set(text.splitlines()) - set(old.splitlines())
        assert [line for line in new if line.startswith("    ")] == []


UNSET = """\
class LoRALinear:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_A = None
        self.lora_B = None
        self.lora_rank = None
        self.lora_alpha = None

    def set_factors(self, A, B):
        self.lora_A = A
        self.lora_B = B

    @property
    def lora_scale(self):
        if self.lora_alpha is None or self.lora_rank is None:
            return 1.0
        return self.lora_alpha / self.lora_rank

    def merge(self):
        self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)
"""


def test_a_scale_that_nobody_sets_yet_is_no_missing_one(tmp_path: Path) -> None:
    """What LS203 sets is multiplied already: a second factor would square it."""
    assert lint_files(tmp_path, {"layer.py": UNSET}, codes=["LS101"]) == ()
    bare = UNSET.replace("self.lora_scale * (self.lora_B @ self.lora_A)", "self.lora_B @ self.lora_A")
    assert len(lint_files(tmp_path, {"layer.py": bare}, codes=["LS101"])) == 1
