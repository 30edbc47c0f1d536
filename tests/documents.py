"""The examples in a Markdown file, as files."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```\w+\n# (?P<name>\S+\.\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def write_examples(document: Path, folder: Path) -> list[Path]:
    """Write every block whose first line is a comment with a file name; returns the files."""
    files = []
    for block in _BLOCK.finditer(document.read_text()):
        file = folder / block["name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block["text"])
        files.append(file)
    return files
