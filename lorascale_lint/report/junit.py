"""The report as tests that failed, for servers that show JUnit's XML."""

from __future__ import annotations

from itertools import groupby
from xml.etree import ElementTree

from lorascale_lint.report.concise import lines
from lorascale_lint.report.content import Read, Report, told
from lorascale_lint.report.terminal import Style, printable


def render(report: Report, read: Read, style: Style) -> str:
    """A suite for each file with a finding; a single test that passes where there is nothing to report."""
    more = {(item.span.filename, item.span.start, item.code): told(item)[1:] for item in report.findings}
    root = ElementTree.Element("testsuites", name="lorascale-lint")
    for filename, group in groupby(sorted(lines(report)), key=lambda line: line.filename):
        items = list(group)
        suite = _suite(root, printable(filename), len(items))
        for item in items:
            place = f"{item.position.row}:{item.position.column}"
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=f"{item.code} {item.name} {place}",
                classname=printable(filename),
                file=printable(filename),
                line=str(item.position.row),
            )
            failure = ElementTree.SubElement(case, "failure", message=printable(item.message), type=item.code)
            below = more.get((item.filename, item.position, item.code), [])
            lines_of = (f"{filename}:{place}: {item.message}", *below)
            failure.text = "\n".join(map(printable, lines_of))
    if not len(root):
        ElementTree.SubElement(
            _suite(root, "lorascale-lint", 0), "testcase", name="no findings", classname="lorascale-lint"
        )
    cases = root.findall("*/testcase")
    root.set("tests", str(len(cases)))
    root.set("failures", str(len(root.findall("*/testcase/failure"))))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, name: str, failures: int) -> ElementTree.Element:
    numbers = {"tests": str(failures or 1), "failures": str(failures), "errors": "0", "skipped": "0"}
    return ElementTree.SubElement(root, "testsuite", {"name": name, **numbers})
