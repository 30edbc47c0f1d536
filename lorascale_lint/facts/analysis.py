"""From the bytes of one file to its encoded facts, or to the reason why there are none."""

from __future__ import annotations

import sys

from lorascale_lint.bounds import RECURSION_LIMIT
from lorascale_lint.facts.extract import extract_facts
from lorascale_lint.facts.store import encode
from lorascale_lint.facts.terms import FileFacts
from lorascale_lint.findings import FileFailure, Position
from lorascale_lint.sources.narrow import NestedTooDeeply, narrow, syntax_error
from lorascale_lint.sources.prefilter import may_hold_lora
from lorascale_lint.sources.text import SourceText, UndecodableSource


def analyse_file(name: str, source: bytes, module: str) -> bytes | FileFailure:
    """Encoded facts of one file, or why there are none. Never raises."""
    import libcst as cst

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        text = SourceText.decode(source).text
        error = syntax_error(text)
        if error is None and not may_hold_lora(source):
            return encode(FileFacts())
        try:
            return encode(extract_facts(narrow(text), module))
        except cst.ParserSyntaxError as unparsed:
            if error is not None:  # the standard library knows the place better
                place = Position(error.lineno or 1, error.offset or 1)
                return FileFailure(name, f"cannot be parsed: {error.msg}", place)
            place = Position(unparsed.editor_line, unparsed.editor_column)
            return FileFailure(name, f"cannot be parsed: {unparsed.message.strip()}", place)
    except UndecodableSource as error:
        return FileFailure(name, f"cannot be decoded: {error}")
    except ValueError as error:
        return FileFailure(name, f"cannot be analysed: {error}")
    except (NestedTooDeeply, RecursionError, KeyError):  # LibCST's positions hide the second in the third
        return FileFailure(name, "cannot be analysed: nested too deeply")
    finally:
        sys.setrecursionlimit(limit)
