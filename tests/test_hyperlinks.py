"""Codes on a terminal are hyperlinks to the pages of their rules."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lorascale_lint import cli
from lorascale_lint.findings import Finding, Position, Span
from lorascale_lint.report.content import Report
from lorascale_lint.report.formats import render
from lorascale_lint.report.links import are_wanted
from lorascale_lint.report.terminal import Style

INVERTED = "def merge(weight, lora_A, lora_B, alpha, rank):\n    weight += lora_B @ lora_A * (rank / alpha)\n"
LINK = re.compile(r"\x1b\]8;;(file://[^\x1b]+)\x1b\\(?:\x1b\[[\d;]+m)?LS111(?:\x1b\[0m)?\x1b\]8;;\x1b\\")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "lora.py").write_text(INVERTED)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    return folder


@pytest.mark.parametrize("output_format", ["text", "concise", "grouped"])
def test_a_code_leads_to_the_page_of_its_rule(project, capfd, output_format):
    assert cli.run(["--output-format", output_format]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    (address,) = LINK.findall(out)
    page = Path(unquote(urlsplit(address).path))
    text = page.read_text()
    assert "<title>inverted-scale (LS111)</title>" in text
    assert "## Why it is wrong" in text
    assert not re.search(r"<script|<link|src=|href=", text)
    assert cli.run(["clean"]) == 0
    assert not page.exists()


@pytest.mark.parametrize("args", [["--output-format", "json"], ["--no-cache"], ["-o", "report.txt", "-q"]])
def test_where_there_is_no_link(project, capfd, monkeypatch, args):
    if "-o" in args:
        monkeypatch.delenv("FORCE_HYPERLINK")
    assert cli.run(args) == 1
    assert "\x1b]8" not in capfd.readouterr().out
    if "-o" in args:
        assert "\x1b]8" not in (project / "report.txt").read_text()


def test_a_page_that_cannot_be_written_is_no_error(project, capfd, tmp_path):
    (tmp_path / "cache" / "lorascale-lint").mkdir(parents=True)
    (tmp_path / "cache" / "lorascale-lint").chmod(0o700)
    (tmp_path / "cache" / "lorascale-lint" / "pages").write_text("a file, where a folder should be")
    from lorascale_lint.report import links

    links._written.cache_clear()
    assert cli.run([]) == 1
    assert "\x1b]8" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("variables", "stream", "wanted"),
    [
        ({"TERM": "xterm"}, Terminal(), True),
        ({"TERM": "xterm"}, io.StringIO(), False),
        ({"TERM": "xterm"}, None, False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({}, Terminal(), False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(), False),
        ({"TERM": "xterm", "FORCE_HYPERLINK": "0"}, Terminal(), False),
        ({"FORCE_HYPERLINK": "1"}, io.StringIO(), True),
    ],
)
def test_who_wants_links(monkeypatch, variables, stream, wanted):
    for name in ("TERM", "NO_COLOR", "FORCE_HYPERLINK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert are_wanted(stream) is wanted


def test_an_address_of_a_rule_s_own_can_control_no_terminal():
    span = Span("a.py", Position(1, 1), Position(1, 2))
    style = Style(page_of=lambda code: None)

    def shown(url: str) -> str:
        report = Report((Finding("HOUSE001", "house", "no", span, url=url),), (), 1)
        return render(report, "concise", lambda name: None, style)

    assert "\x1b]8;;https://example.org/1\x1b\\HOUSE001\x1b]8;;\x1b\\" in shown("https://example.org/1")
    assert "\x1b" not in shown("https://example.org/\x1b\\\x1b[2J")
