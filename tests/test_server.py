"""The language server, spoken to by a real client in another process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from lorascale_lint.server.app import FIX_ALL, _replacement

INVERTED = """\
# größe 𝛼
def merge(weight, lora_A, lora_B, alpha, rank):
    𝛼 = "𝛼"; weight += lora_B @ lora_A * (rank / alpha)
"""
COMMAND = [sys.executable, "-m", "lorascale_lint", "server"]


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND))
async def client(lsp_client: LanguageClient):
    await lsp_client.initialize_session(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(
                text_document=types.TextDocumentClientCapabilities(
                    publish_diagnostics=types.PublishDiagnosticsClientCapabilities(
                        related_information=True,
                        tag_support=types.ClientDiagnosticsTagOptions([types.DiagnosticTag.Unnecessary]),
                        code_description_support=True,
                    )
                )
            )
        )
    )
    yield
    await lsp_client.shutdown_session()


async def opened(client: LanguageClient, path: Path, text: str) -> str:
    path.write_text(text)
    item = types.TextDocumentItem(path.as_uri(), "python", 1, text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    await diagnostics(client)
    return path.as_uri()


async def diagnostics(client: LanguageClient) -> None:
    await asyncio.wait_for(client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS), 60)


def change(client: LanguageClient, uri: str, text: str, version: int = 2) -> None:
    whole = types.TextDocumentContentChangeWholeDocument(text)
    document = types.VersionedTextDocumentIdentifier(version, uri)
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [whole]))


async def actions(client: LanguageClient, uri: str, *only: str) -> list[types.CodeAction]:
    place = types.Range(types.Position(2, 45), types.Position(2, 45))
    context = types.CodeActionContext([], list(only) or None)
    document = types.TextDocumentIdentifier(uri)
    return await client.text_document_code_action_async(types.CodeActionParams(document, place, context))


def applied(text: str, action: types.CodeAction, uri: str) -> str:
    """The text after the edits of an action; a client counts UTF-16 units."""
    for edit in sorted(action.edit.changes[uri], key=lambda edit: -edit.range.start.line):
        rows = text.split("\n")
        offsets = []
        for place in (edit.range.start, edit.range.end):
            row = rows[place.line] if place.line < len(rows) else ""
            before = row.encode("utf-16-le")[: 2 * place.character].decode("utf-16-le")
            offsets.append(sum(len(item) + 1 for item in rows[: place.line]) + len(before))
        text = text[: offsets[0]] + edit.new_text + text[offsets[1] :]
    return text


@pytest.mark.asyncio
async def test_a_finding_with_its_trace_while_typing(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", "x = 1\n")
    assert not client.diagnostics[uri]
    change(client, uri, INVERTED)
    await diagnostics(client)
    (found,) = client.diagnostics[uri]
    assert (found.code, found.source, found.severity) == (
        "LS111",
        "lorascale-lint",
        types.DiagnosticSeverity.Error,
    )
    assert "4.00x too strong" in found.message
    row = INVERTED.split("\n")[2]
    begin = len(row[: row.index("rank /")].encode("utf-16-le")) // 2
    assert (found.range.start.line, found.range.start.character) == (2, begin)
    assert [step.location.uri for step in found.related_information] == [uri] * 2
    change(client, uri, "x = 2\n", version=3)
    await diagnostics(client)
    assert not client.diagnostics[uri]


@pytest.mark.asyncio
async def test_quick_fixes(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", INVERTED)
    repair, silence = await actions(client, uri)
    assert repair.title == "LS111: Divide alpha by the rank"
    assert repair.is_preferred
    assert applied(INVERTED, repair, uri) == INVERTED.replace("(rank / alpha)", "(alpha / rank)")
    assert silence.title == "LS111: Silence it by a comment"
    silenced = applied(INVERTED, silence, uri)
    assert silenced == INVERTED[:-1] + "  # lorascale: ignore[inverted-scale]\n"
    change(client, uri, silenced)
    await diagnostics(client)
    assert not client.diagnostics[uri]


@pytest.mark.asyncio
async def test_a_quick_fix_for_what_was_just_typed(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", "x = 1\n")
    for version, text in enumerate([INVERTED[:-5], INVERTED[:-3], INVERTED], start=2):
        change(client, uri, text, version)
    await diagnostics(client)
    repair, _ = await actions(client, uri)
    assert applied(INVERTED, repair, uri) == INVERTED.replace("(rank / alpha)", "(alpha / rank)")


@pytest.mark.asyncio
async def test_fix_all(client: LanguageClient, tmp_path: Path):
    text = INVERTED + INVERTED.replace("merge", "merge_other").replace("# größe 𝛼\n", "\n\n")
    uri = await opened(client, tmp_path / "lora.py", text)
    (action,) = await actions(client, uri, "source.fixAll")
    assert action.kind == FIX_ALL
    assert applied(text, action, uri) == text.replace("(rank / alpha)", "(alpha / rank)")
    assert not await actions(client, uri, "source.organizeImports")


@pytest.mark.asyncio
async def test_hover_explains_the_rule(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", INVERTED)
    document = types.TextDocumentIdentifier(uri)
    shown = await client.text_document_hover_async(types.HoverParams(document, types.Position(2, 45)))
    assert shown.contents.value.startswith("**LS111 inverted-scale**")
    assert await client.text_document_hover_async(types.HoverParams(document, types.Position(0, 0))) is None


RIGHT = """\
def merge(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * (alpha / rank)
"""


@pytest.mark.asyncio
async def test_the_scale_of_a_delta_on_hover_and_above_its_row(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", RIGHT)
    document = types.TextDocumentIdentifier(uri)
    shown = await client.text_document_hover_async(types.HoverParams(document, types.Position(1, 6)))
    assert shown.contents.value.startswith("merge of a LoRA delta at scale **alpha / rank**")
    (lens,) = await client.text_document_code_lens_async(types.CodeLensParams(document))
    assert (lens.range.start.line, lens.command.title) == (1, "merge: alpha / rank")


@pytest.mark.asyncio
async def test_other_open_documents_count_as_they_are_typed(client: LanguageClient, tmp_path: Path):
    (tmp_path / "pyproject.toml").touch()
    layer = (Path(__file__).parent / "test_api.py").read_text().split('LAYER = """\\\n')[1].split('"""')[0]
    helper = await opened(client, tmp_path / "helper.py", "# lora\n")
    uri = await opened(client, tmp_path / "layer.py", layer)
    assert not client.diagnostics[uri]
    change(client, helper, "def product(lora_B, lora_A):\n    return lora_B @ lora_A\n")
    await diagnostics(client)
    change(client, uri, layer + "\n")
    await diagnostics(client)
    assert [found.code for found in client.diagnostics[uri]] == ["LS101"]


@pytest.mark.asyncio
async def test_a_file_that_cannot_be_parsed(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", INVERTED + "def\n")
    (found,) = client.diagnostics[uri]
    assert (found.code, found.range.start.line) == ("LS001", 3)


@pytest.mark.asyncio
async def test_wrong_settings_are_said(client: LanguageClient, tmp_path: Path):
    (tmp_path / "lorascale-lint.toml").write_text("slect = []\n")
    item = types.TextDocumentItem((tmp_path / "a.py").as_uri(), "python", 1, "x\n")
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    await asyncio.wait_for(client.wait_for_notification(types.WINDOW_SHOW_MESSAGE), 60)
    assert "unknown key 'slect'" in client.messages[0].message


@pytest.mark.asyncio
async def test_a_closed_document_has_no_findings(client: LanguageClient, tmp_path: Path):
    uri = await opened(client, tmp_path / "lora.py", INVERTED)
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
    await diagnostics(client)
    assert not client.diagnostics[uri]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\nc\n", "a\nB\nc\n"),
        ("a", "a  # x"),
        ("a\r\nb\r\n", "a\r\n"),
        ("", "a\n"),
        ("a\n", ""),
        ("a\na\n", "a\n"),
    ],
)
def test_one_edit_of_whole_rows(before, after):
    edit = _replacement(before, after)
    rows = before.split("\n")
    place = [
        sum(len(row) + 1 for row in rows[: at.line])
        + min(at.character, len(rows[at.line]) if at.line < len(rows) else 0)
        for at in (edit.range.start, edit.range.end)
    ]
    assert before[: place[0]] + edit.new_text + before[place[1] :] == after
