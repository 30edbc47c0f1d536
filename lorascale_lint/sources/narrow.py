"""Blank out the functions that can't matter, so that LibCST parses little.

The standard library's parser (6 MB/s) finds the spans. A function matters if it has a word of LoRA
code, if its class is called after LoRA, or if it has a word of scaling or a product beside LoRA code: in
the same class, or at the top level of the same file. What a function that matters names in the same file
matters too. Line and column of what stays do not change.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import TypeAlias

_LORA = re.compile(r"(?i)lora|lokr|loha|hada_w|(?<!ip)(?<!ip[_-])adapter")
_ALONE = re.compile(_LORA.pattern + r"|alpha|dora|magnitude|decompose|diff_weight|updown|bypass")
_BESIDE_LORA = re.compile(
    r"(?i)alpha|scal(e|ing)|rank|factor|delta|hada_|\bup\b|\bdown\b|multiplier|strength|w1|w2|"
    r"un_?(merge|fuse)|restore|@|matmul|mm\b|einsum|\blinear\("
)
_ROW = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_NAME = re.compile(r"[A-Za-z_]\w*")
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class NestedTooDeeply(Exception):
    """LibCST's native parser would overflow the stack on such a text, so it must not see it."""


def speaks_of_lora(text: str) -> bool:
    """Is there a word in ``text`` that makes it matter wherever it stands?"""
    return _ALONE.search(text) is not None


def rows_of(text: str) -> list[str]:
    """The rows of ``text`` as Python counts them, each with its end."""
    return _ROW.findall(text)


def parse(text: str) -> ast.Module:
    """The standard library's tree. Raises SyntaxError (also for null bytes) and `NestedTooDeeply`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError) as error:
        raise NestedTooDeeply from error
    except SyntaxError as error:
        if "too many nested" in str(error):
            raise NestedTooDeeply from error
        raise
    except ValueError as error:  # null bytes, before Python 3.12
        raise SyntaxError(str(error)) from error


def narrow(text: str, tree: ast.Module) -> str:
    """``text``, whose tree is ``tree``, with the bodies of functions that can't matter as ``...``."""
    lines = rows_of(text)
    if len(text.splitlines()) > len(lines):  # form feeds and the like: rows would not agree
        return text
    definitions = _Definitions(tree, lines)
    kept = definitions.that_matter()
    for node in definitions.outermost:
        if node not in kept:
            _blank(lines, node)
    return "".join(lines)


class _Definitions:
    """The outermost functions of a file, and the class that each is in."""

    def __init__(self, tree: ast.Module, lines: list[str]) -> None:
        nodes = list(ast.walk(tree))
        self.outermost = _outermost([node for node in nodes if isinstance(node, _FUNCTION)])
        self._text = {
            node: "".join(lines[node.lineno - 1 : node.end_lineno]).replace(f"def {node.name}", "", 1)
            for node in self.outermost
        }
        self._class = {
            item: node
            for node in nodes
            if isinstance(node, ast.ClassDef)
            for item in node.body
            if isinstance(item, _FUNCTION)
        }
        self._lora_anywhere = any(map(_LORA.search, lines))
        self._speaks: dict[ast.ClassDef | None, bool] = {}

    def that_matter(self) -> set[_Function]:
        """Those with a word that matters, and what they name."""
        kept = {node for node in self.outermost if self._has_word(node)}
        for _ in range(3):
            named = {name for node in kept for name in _NAME.findall(self._text[node])}
            classes = {self._class[node] for node in kept if node in self._class}
            for node in self.outermost:
                owner = self._class.get(node)
                if owner is not None and node.name.startswith("__"):
                    matters = owner in classes or owner.name in named
                else:
                    matters = node.name in named
                if matters:
                    kept.add(node)
        return kept

    def _has_word(self, node: _Function) -> bool:
        owner = self._class.get(node)
        if owner is not None and _LORA.search(" ".join([owner.name, *map(ast.unparse, owner.bases)])):
            return True
        text = f"{node.name} {self._text[node]}"
        return _ALONE.search(text) is not None or (
            _BESIDE_LORA.search(text) is not None and self._is_beside_lora(owner)
        )

    def _is_beside_lora(self, owner: ast.ClassDef | None) -> bool:
        """Does the class (for a function: the file) speak of LoRA? A helper's file that nowhere does may."""
        if not self._lora_anywhere:
            return True
        if owner not in self._speaks:
            texts = [] if owner is None else [owner.name, *map(ast.unparse, owner.bases)]
            members = self._text if owner is None else [node for node in owner.body if node in self._text]
            texts += [self._text[node] for node in members]
            self._speaks[owner] = any(map(_LORA.search, texts))
        return self._speaks[owner]


def _outermost(functions: list[_Function]) -> list[_Function]:
    """Functions that lie in no other function."""
    found: list[_Function] = []
    end = 0
    for node in sorted(functions, key=lambda item: item.lineno):
        if node.lineno > end:
            found.append(node)
            end = node.end_lineno or node.lineno
    return found


def _blank(lines: list[str], node: _Function) -> None:
    first = node.body[0]
    decorators = getattr(first, "decorator_list", [])  # a decorated definition starts above its `def`
    start = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    end = node.end_lineno or first.lineno
    header_end = max(
        [
            node.lineno,
            *(
                argument.end_lineno or 0
                for argument in ast.walk(node.args)
                if hasattr(argument, "end_lineno")
            ),
        ]
    )
    if start <= header_end or (node.returns is not None and start <= (node.returns.end_lineno or 0)):
        return  # body on the header's line
    indent = lines[start - 1][: first.col_offset]
    if indent.strip():
        return
    for row in range(start - 1, end):
        line = lines[row]
        ending = line[len(line.rstrip("\r\n")) :]
        lines[row] = (f"{indent}..." if row == start - 1 else "") + ending
