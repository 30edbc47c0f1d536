"""Changes as a unified diff that `git apply` takes."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

from lorascale_lint.fixing.apply import Change

# As git: only a line feed ends a line; `bytes.splitlines` would also split at a carriage return.
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NO_NEWLINE = b"\n\\ No newline at end of file\n"


def unified_diff(changes: Iterable[Change]) -> bytes:
    """The diff in bytes, because a patch holds each line in the encoding of its file."""
    return b"".join(_file_diff(change) for change in sorted(changes, key=lambda change: change.path))


def _file_diff(change: Change) -> bytes:
    name = os.fsencode(os.path.relpath(change.path)).replace(os.fsencode(os.sep), b"/")
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _LINE.findall(change.before),
        _LINE.findall(change.after),
        _header_name(b"a/" + name),
        _header_name(b"b/" + name),
    )
    return b"".join(line if line.endswith(b"\n") else line + _NO_NEWLINE for line in lines)


def _header_name(name: bytes) -> bytes:
    """A name as git writes it: quoted if it holds control characters, closed by a tab if spaces."""
    if re.search(rb'[\x00-\x1f\x7f"\\]', name):
        quoted = re.sub(rb'[\x00-\x1f\x7f"\\]', lambda found: b"\\%03o" % found.group()[0], name)
        return b'"' + quoted + b'"'
    return name + b"\t" if b" " in name else name
