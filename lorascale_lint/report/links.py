"""Hyperlinks (OSC 8) from codes on a terminal to the pages of their rules, which lie in the cache folder."""

from __future__ import annotations

import hashlib
import html
import os
import socket
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from lorascale_lint.report.page import page


def are_wanted(stream: TextIO | None) -> bool:
    """On a terminal that shows colours; FORCE_HYPERLINK says yes, or no with 0, whatever that is."""
    if (forced := os.environ.get("FORCE_HYPERLINK", "")) != "":
        return forced != "0"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "linux")
    return stream is not None and stream.isatty() and not plain


@dataclass(frozen=True)
class RulePages:
    """Pages below ``folder``, written when the first finding of their rule is shown."""

    folder: Path

    def address(self, code: str) -> str | None:
        """Of the page of a rule; None where there is none, or it can't be written."""
        return _written(self.folder, code)


@cache
def _written(folder: Path, code: str) -> str | None:
    from lorascale_lint.run_rules import all_pages

    found = next((item for item in all_pages() if item.code == code), None)
    if found is None:
        return None
    text = f'<pre style="white-space: pre-wrap; max-width: 72ch">{html.escape(found.page())}</pre>'
    data = page(f"{found.name} ({code})", [text]).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = folder / "pages" / digest[:2] / f"{found.name}-{digest[2:18]}.html"
    try:
        if not path.is_file():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.replace(temporary, path)
    except OSError:
        return None
    # With the machine's name a terminal knows a page that lies on another one, over ssh.
    return f"file://{socket.gethostname()}{quote(path.absolute().as_posix())}"
