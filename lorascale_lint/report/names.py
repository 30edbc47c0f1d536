"""The names of the formats; nothing is imported here, for `--help` must be instant."""

from __future__ import annotations

FORMATS = {
    "text": "text",
    "concise": "concise",
    "grouped": "grouped",
    "json": "json_report",
    "json-lines": "json_lines",
    "sarif": "sarif",
    "junit": "junit",
    "github": "github",
    "gitlab": "gitlab",
    "rdjson": "rdjson",
    "markdown": "markdown",
    "html": "html_page",
}
"""The module of each format; its function is `render`."""
FOR_PEOPLE = frozenset({"text", "concise", "grouped"})
"""Formats that are followed by the lines which say what was fixed and what is left."""
BY_ROW = frozenset({"sarif", "github", "gitlab", "rdjson"})
"""Formats for viewers that know rows of files, and no cells of notebooks."""
