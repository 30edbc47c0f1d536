"""From the bytes of one file to its encoded facts, or to the reason why there are none."""

from __future__ import annotations

import ast
import gc
import sys
from dataclasses import replace

import libcst as cst

from lorascale_lint.bounds import PARSER_RECURSION_LIMIT, RECURSION_LIMIT, SOURCE_BYTES
from lorascale_lint.facts.extract import extract_facts
from lorascale_lint.facts.store import encode
from lorascale_lint.facts.terms import FileFacts, Loc, Unread
from lorascale_lint.findings import FileFailure, Position
from lorascale_lint.sources.narrow import NestedTooDeeply, narrow, parse
from lorascale_lint.sources.oversized import may_be_tried, without_oversized
from lorascale_lint.sources.prefilter import may_hold_lora
from lorascale_lint.sources.text import SourceText, UndecodableSource

_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


def analyse_file(name: str, source: bytes, module: str) -> bytes | FileFailure:
    """Encoded facts of one file, or why there are none. Never raises."""
    limit, collecting = sys.getrecursionlimit(), gc.isenabled()
    gc.disable()  # trees have no cycles, and looking for some takes as long as making them
    try:
        return encode(_facts(source, module))
    except UndecodableSource as error:
        return FileFailure(name, f"cannot be decoded: {error}")
    except _Refused as error:
        return FileFailure(name, f"cannot be parsed: {error}", error.position)
    except NestedTooDeeply as error:
        return FileFailure(name, f"cannot be analysed: nested too deeply{f': {error}' if str(error) else ''}")
    except (RecursionError, KeyError):  # LibCST's positions hide the first in the second
        return FileFailure(name, "cannot be analysed: nested too deeply")
    except ValueError as error:
        return FileFailure(name, f"cannot be analysed: {error}")
    finally:
        sys.setrecursionlimit(limit)
        if collecting:
            gc.enable()


class _Refused(Exception):
    """A grammar refuses the text, and there is no other to read it."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.position = position


def _facts(source: bytes, module: str) -> FileFacts:
    if len(source) > SOURCE_BYTES:
        raise ValueError(f"more than {SOURCE_BYTES} bytes")
    text = SourceText.decode(source).text
    sys.setrecursionlimit(PARSER_RECURSION_LIMIT)
    try:
        tree = parse(text)
    except SyntaxError as error:
        return _by_libcst_alone(text, module, error)
    if not may_hold_lora(source):
        return FileFacts()
    return _by_both(text, tree, module)


def _by_both(text: str, tree: ast.Module, module: str) -> FileFacts:
    sys.setrecursionlimit(RECURSION_LIMIT)
    narrowed, cuts = without_oversized(text, tree, narrow(text, tree))
    try:
        facts = extract_facts(narrowed, module)
    except cst.ParserSyntaxError as error:
        place = Position(error.editor_line, error.editor_column)
        reason = error.message.strip().removeprefix("parser error: ")
        raise _Refused(f"{_libcst()} refuses what {_PYTHON} accepts: {reason}", place) from error
    except cst.CSTValidationError as error:  # `for x in* y`: its nodes refuse what its parser has read
        raise _Refused(f"{_libcst()} refuses what {_PYTHON} accepts: {error}", Position(1, 1)) from error
    unread = tuple(Unread(cut.message, Loc(*([cut.position.row, cut.position.column] * 2))) for cut in cuts)
    return replace(facts, unread=unread)


def _by_libcst_alone(text: str, module: str, error: SyntaxError) -> FileFacts:
    """What `ast` refuses may be of a newer Python than this one, or of Python 2."""
    position = Position(error.lineno or 1, error.offset or 1)
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        if not may_be_tried(text):
            raise _Refused(f"{error.msg} ({_PYTHON})", position) from error
        facts = extract_facts(text, module)
    except (cst.ParserSyntaxError, cst.CSTValidationError):
        raise _Refused(f"{error.msg} ({_PYTHON}, and {_libcst()})", position) from error
    message = (
        f"{_PYTHON} refuses its syntax ({error.msg}); it was checked by the grammar of {_libcst()} alone"
    )
    return replace(facts, unread=(Unread(message, Loc(*([position.row, position.column] * 2))),))


def _libcst() -> str:
    from libcst._version import __version__

    return f"LibCST {__version__}"
