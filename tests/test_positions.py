"""Places of nodes are those of LibCST's own provider, which takes five times as long."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider

from lorascale_lint.sources import positions
from lorascale_lint.sources.loc import Loc
from lorascale_lint.sources.positions import Positions

STDLIB = Path(sysconfig.get_path("stdlib"))
TEXTS = {
    "empty": "",
    "comment only": "# nothing",
    "CRLF": "if x:\r\n    y = (\r\n        1\r\n    )\r\n",
    "lone CR in a string": 'x = """a\rb"""; y = 1\n',
    "tabs": "def f():\n\tif x:\n\t\treturn [\n1]\n",
    "continued": "x = a + \\\n  b\n",
    "form feed": "x = 1\n\f\ny = 2\n",
    "brackets": "x = ((((a)), (b)))\n",
    "decorated": "@a\n@b(1)\n\n# why\ndef f(): pass\n",
    "many rows of string": "x = f'''a\n{b}\n''' 'c'\n",
    "no end of line": "x = 1",
    "elif": "if a:\n  pass\nelif b:\n  pass\nelse:\n  pass\n",
    "match": "match x:\n    case [a, *_] if a: pass\n    case {'k': v, **rest}: pass\n",
    "wide": "𝔵 = 'é' + ñ\n",
}


def expected(module: cst.Module) -> dict[cst.CSTNode, Loc]:
    found = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    return {
        node: Loc(span.start.line, span.start.column + 1, span.end.line, span.end.column + 1)
        for node, span in found.items()
    }


def without_provider(module: cst.Module) -> dict[cst.CSTNode, Loc]:
    """The places, which must not come from the slow way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(positions, "MetadataWrapper")
        return dict(Positions(module))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_odd_texts(text: str) -> None:
    module = cst.parse_module(text)
    assert without_provider(module) == expected(module)


@pytest.mark.parametrize("name", ["ast", "argparse", "dataclasses", "textwrap", "typing", "asyncio/tasks"])
def test_real_files(name: str) -> None:
    module = cst.parse_module((STDLIB / f"{name}.py").read_text())
    assert without_provider(module) == expected(module)


def test_another_libcst_falls_back_on_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cst.parse_module(TEXTS["match"])
    monkeypatch.delattr(positions._State, "record_syntactic_position")
    assert dict(Positions(module)) == expected(module)
