"""MkDocs hook: a page for each rule, as `lorascale-lint rule` prints it; links out of the site are names."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lorascale_lint.run_rules import all_pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `rules/NAME.md` for each rule, and a list of them."""
    rows = ["# Rules", "", "| code | name | what it finds | repair |", "|---|---|---|---|"]
    for page in all_pages():
        rows.append(f"| {page.code} | [{page.name}]({page.name}.md) | {page.summary()} | {page.fix} |")
        text = f"# {page.name} ({page.code})\n\n{page.page()}\n"
        files.append(File.generated(config, f"rules/{page.name}.md", content=text))
    files.append(File.generated(config, "rules/index.md", content="\n".join(rows) + "\n"))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name a file of the repository that is no page: nothing says where the repository is published."""
    return re.sub(r"\[([^\]]*)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
