"""The server's answers to what an editor tells and asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from lorascale_lint import __version__
from lorascale_lint.adoption.ignores import add_ignores
from lorascale_lint.config import ConfigError
from lorascale_lint.findings import Finding, Fix
from lorascale_lint.report.content import Read, Report
from lorascale_lint.selection import find_page
from lorascale_lint.server.checks import Checks
from lorascale_lint.server.convert import Converter
from lorascale_lint.server.worker import Worker
from lorascale_lint.sources.text import SourceText

FIX_ALL = f"{types.CodeActionKind.SourceFixAll.value}.lorascale-lint"
# `str.splitlines` also breaks where neither Python nor an editor does.
_ROW = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_PAUSE = 0.1
"""Seconds without a key stroke after which a document is checked."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the last check of a document said, and of which text."""

    text: str
    report: Report
    read: Read


class Server(LanguageServer):
    """One editor's documents and what is known of them."""

    def __init__(self) -> None:
        super().__init__("lorascale-lint", __version__)
        self.checks = Checks()
        self.checked: dict[str, _Checked] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._worker = Worker()

    def soon(self, uri: str, *, typing: bool) -> None:
        """Check a document when no other change comes; what waits or runs for its older text is given up."""
        if (waiting := self._waiting.pop(uri, None)) is not None:
            waiting.cancel()
        self._worker.give_up(uri)
        self._waiting[uri] = asyncio.ensure_future(self._check(uri, typing=typing))

    async def _check(self, uri: str, *, typing: bool) -> None:
        if typing:
            await asyncio.sleep(_PAUSE)
        documents = self.documents()
        text = documents.get(_path(uri))
        if text is None:
            return
        try:
            report, read = await self.run(uri, self.checks.check, _path(uri), documents, typing=typing)
        except ConfigError as error:
            self.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))
            return
        if self.documents().get(_path(uri)) == text:
            self.checked[uri] = _Checked(text, report, read)
            found = list(self.converter(read).diagnostics(report))
            self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found))

    async def run(self, uri: str, function: Any, *args: Any, **options: Any) -> Any:
        """Run the analysis for a document; cancelled when the document changes."""
        return await self._worker.run(uri, lambda: function(*args, **options))

    def documents(self) -> dict[Path, str]:
        """The texts of all open documents."""
        return {_path(uri): document.source for uri, document in self.workspace.text_documents.items()}

    async def applications(self, uri: str) -> list[dict[str, Any]]:
        """The places of a document where a delta is applied; none where settings are wrong, as was said.

        Findings come first: a check that waits or runs is waited for.
        """
        while (waiting := self._waiting.get(uri)) is not None and not waiting.done():
            await asyncio.wait({waiting})
        documents = self.documents()
        try:
            found: list[dict[str, Any]] = await self.run(uri, self.checks.applications, _path(uri), documents)
        except ConfigError:
            return []
        return found

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self.checked.pop(uri, None)
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))

    def converter(self, read: Read) -> Converter:
        """What counts columns as the editor does."""
        return Converter(self.workspace.position_codec, read)

    def findings_at(
        self, uri: str, place: types.Range
    ) -> Iterator[tuple[Finding, types.Diagnostic, _Checked]]:
        """The findings that touch a range of a document whose text was checked."""
        checked = self.checked.get(uri)
        if checked is None or self.documents().get(_path(uri)) != checked.text:
            return
        converter = self.converter(checked.read)
        for finding in checked.report.findings:
            diagnostic = converter.diagnostic(finding)
            if _key(diagnostic.range.start) <= _key(place.end) and _key(place.start) <= _key(
                diagnostic.range.end
            ):
                yield finding, diagnostic, checked


def make_server() -> Server:
    """A server that knows what to do with what an editor says."""
    server = Server()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(server: Server, params: types.DidOpenTextDocumentParams) -> None:
        server.checks.forget()
        server.soon(params.text_document.uri, typing=False)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(server: Server, params: types.DidChangeTextDocumentParams) -> None:
        server.soon(params.text_document.uri, typing=True)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(server: Server, params: types.DidSaveTextDocumentParams) -> None:
        server.checks.forget()
        for uri in server.workspace.text_documents:  # what was saved may be what another one imports
            server.soon(uri, typing=False)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(server: Server, params: types.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix, FIX_ALL]),
    )
    async def actions(server: Server, params: types.CodeActionParams) -> list[types.CodeAction]:
        uri, only = params.text_document.uri, params.context.only or []
        found: list[types.CodeAction] = []
        if not only or types.CodeActionKind.QuickFix in only:
            for finding, diagnostic, checked in server.findings_at(uri, params.range):
                fix = await server.run(uri, _fix_of, finding)
                found += _quick_fixes(server, uri, finding, fix, diagnostic, checked)
        if any(kind and FIX_ALL.startswith(kind) for kind in only):
            found += await _fix_all(server, uri)
        return found

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS)
    async def lenses(server: Server, params: types.CodeLensParams) -> list[types.CodeLens]:
        found = await server.applications(params.text_document.uri)
        return [
            types.CodeLens(
                types.Range(types.Position(row - 1, 0), types.Position(row - 1, 0)),
                types.Command(" · ".join(f"{item['kind']}: {item['scale']}" for item in items), ""),
            )
            for row, items in groupby(sorted(found, key=_row), key=_row)
        ]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hover(server: Server, params: types.HoverParams) -> types.Hover | None:
        here = types.Range(params.position, params.position)
        for finding, diagnostic, _ in server.findings_at(params.text_document.uri, here):
            page = find_page(finding.code)
            text = f"**{page.code} {page.name}**\n\n{page.page()}"
            return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text), diagnostic.range)
        for item in await server.applications(params.text_document.uri):
            if item["row"] <= params.position.line + 1 <= item["end_row"]:
                reasons = "".join(f"\n- not known: {reason}" for reason in item["reasons"])
                text = f"{item['kind']} of a LoRA delta at scale **{item['scale']}**\n{reasons}"
                return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))
        return None

    return server


def _fix_of(finding: Finding) -> Fix | None:
    """The repair, made now; a codemod that fails has none. The next save says that it failed."""
    try:
        if (fix := finding.fix) is not None:
            _ = fix.edits
    except Exception:
        return None
    return fix


def _quick_fixes(
    server: Server,
    uri: str,
    finding: Finding,
    fix: Fix | None,
    diagnostic: types.Diagnostic,
    checked: _Checked,
) -> Iterator[types.CodeAction]:
    converter = server.converter(checked.read)
    if fix is not None:
        unsafe = "" if fix.applicability == "safe" else " (changes results: look at it)"
        yield types.CodeAction(
            f"{finding.code}: {fix.message}{unsafe}",
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            is_preferred=fix.applicability == "safe",
            edit=converter.edits(fix.edits),
        )
    if finding.code not in ("LS002", "LS003"):
        source = SourceText.decode(checked.text.encode())
        after = add_ignores(source, [finding], "").decode()
        yield types.CodeAction(
            f"{finding.code}: Silence it by a comment",
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            edit=types.WorkspaceEdit(changes={uri: [_replacement(checked.text, after)]}),
        )


async def _fix_all(server: Server, uri: str) -> list[types.CodeAction]:
    documents = server.documents()
    if (before := documents.get(_path(uri))) is None:
        return []
    try:
        after = await server.run(uri, server.checks.fixed, _path(uri), documents)
    except ConfigError:
        return []  # said when the document was checked
    if after == before:
        return []
    edit = types.WorkspaceEdit(changes={uri: [_replacement(before, after)]})
    return [types.CodeAction("Apply all safe repairs of lorascale-lint", kind=FIX_ALL, edit=edit)]


def _replacement(before: str, after: str) -> types.TextEdit:
    """One edit of whole rows that makes ``after`` of ``before``."""
    old, new = _ROW.findall(before), _ROW.findall(after)
    first = next(
        (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    same = 0
    while same < min(len(old), len(new)) - first and old[-1 - same] == new[-1 - same]:
        same += 1
    start, end = types.Position(first, 0), types.Position(len(old) - same, 0)
    if not same and old and not old[-1].endswith("\n"):
        end = types.Position(len(old) - 1, 2**31 - 1)
    return types.TextEdit(types.Range(start, end), "".join(new[first : len(new) - same]))


def _row(item: dict[str, Any]) -> int:
    return int(item["row"])


def _path(uri: str) -> Path:
    return Path(to_fs_path(uri) or "untitled.py").absolute()


def _key(place: types.Position) -> tuple[int, int]:
    return place.line, place.character


def start() -> None:
    """Speak over standard input and output until the editor ends it."""
    make_server().start_io()
