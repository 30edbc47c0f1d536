"""Files that are not looked at, though they may hold LoRA code, and why."""

from __future__ import annotations

import sys
from pathlib import Path

from lorascale_lint.bounds import SOURCE_BYTES
from lorascale_lint.findings import FileFailure, Position
from lorascale_lint.knowledge.roles import may_hold_lora_code
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.sources.parsing import NestedTooDeeply, parse
from lorascale_lint.sources.text import SourceText, UndecodableSource

_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


def is_passed_over(path: Path, data: bytes) -> bool:
    """Is it a valid file without a word of LoRA code, of which a run says nothing?"""
    if not may_hold_lora_code(data):
        return True
    return refused(path, data) is None and not speaks_of_lora(SourceText.decode(data).text)


def refused(path: Path, data: bytes) -> FileFailure | None:
    """Why a file was not looked at, if that is a fault of its text."""
    name = str(path)
    try:
        if len(data) > SOURCE_BYTES:
            return FileFailure(name, f"cannot be analysed: more than {SOURCE_BYTES} bytes")
        parse(SourceText.decode(data).text)
    except UndecodableSource as error:
        return FileFailure(name, f"cannot be decoded: {error}")
    except NestedTooDeeply:
        return FileFailure(name, "cannot be analysed: nested too deeply")
    except SyntaxError as error:
        place = Position(error.lineno or 1, error.offset or 1)
        return FileFailure(name, f"cannot be parsed: {error.msg} ({_PYTHON})", place)
    return None
