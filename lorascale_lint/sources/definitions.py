"""Which class and function a row of a file lies in: a name for places that outlives added lines."""

from __future__ import annotations

import ast
from dataclasses import dataclass

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Definitions:
    """First row, last row and dotted name of each class and function, outer ones first."""

    spans: tuple[tuple[int, int, str], ...]

    @classmethod
    def of(cls, text: str) -> Definitions:
        """Those of a file; none if it can't be parsed."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return cls(())
        spans: list[tuple[int, int, str]] = []
        waiting: list[tuple[ast.AST, str]] = [(tree, "")]
        while waiting:
            node, outer = waiting.pop()
            for child in ast.iter_child_nodes(node):
                name = outer
                if isinstance(child, _SCOPES):
                    name = f"{outer}.{child.name}" if outer else child.name
                    first = min(child.lineno, *(item.lineno for item in child.decorator_list), child.lineno)
                    spans.append((first, child.end_lineno or child.lineno, name))
                waiting.append((child, name))
        return cls(tuple(sorted(spans, key=lambda span: (span[0], -span[1]))))

    def at(self, row: int) -> str:
        """Dotted name of the innermost definition around a row; empty outside of all."""
        return next((name for first, last, name in reversed(self.spans) if first <= row <= last), "")
