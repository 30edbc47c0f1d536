"""The pages of the rules: as text, as one JSON document, as Markdown."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from lorascale_lint.report.terminal import Style
from lorascale_lint.rule import Explained


def render_list(pages: Sequence[Explained], output_format: str, *, single: bool = False) -> str:
    """One line for each page; as JSON the same as `render_pages`."""
    if output_format == "json":
        return render_pages(pages, output_format, single=single)
    if output_format == "markdown":
        rows = (f"| {page.code} | {page.name} | {page.summary()} | {page.fix} |\n" for page in pages)
        return "".join(("| code | name | what it finds | fix |\n|---|---|---|---|\n", *rows))
    long = max((len(page.name) for page in pages), default=0)
    return "".join(f"{page.code}  {page.name:<{long}}  {page.summary()}\n" for page in pages)


def render_pages(pages: Sequence[Explained], output_format: str, *, single: bool = False) -> str:
    """All pages one after another; ``single`` makes the JSON an object instead of an array."""
    if output_format == "json":
        records = [_record(page) for page in pages]
        return json.dumps(records[0] if single else records, indent=2) + "\n"
    text = "\n".join(f"# {page.name} ({page.code})\n\n{page.page()}\n" for page in pages)
    if output_format == "markdown":
        return text
    style = Style.of(sys.stdout)
    return re.sub(r"^#+ .*$", lambda heading: style.bold(heading[0]), text, flags=re.MULTILINE)


def _record(page: Explained) -> dict[str, Any]:
    """With the names of `ruff rule --output-format json` where it has the same."""
    return {
        "name": page.name,
        "code": page.code,
        "summary": page.summary(),
        "severity": page.severity,
        "fix_availability": page.fix,
        "explanation": page.page(),
    }
