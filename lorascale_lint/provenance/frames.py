"""One function that runs: its names, the conditions that hold, and what it has given back so far."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import Names
from lorascale_lint.provenance.values import Value


@dataclass
class Frame:
    """One running function."""

    file: FileInfo
    function: FunctionInfo | None
    names: Names
    receiver: Value | None = None
    owner: ClassInfo | None = None
    """The class in which the method was found, for ``super``."""
    lora: bool = False
    """Does the code here speak of LoRA, so that weak names mean something?"""
    guards: Guards = ()
    returns: list[tuple[Value, Guards]] = field(default_factory=list)
    exits: list[tuple[dict[Any, Any], Guards]] = field(default_factory=list)
    breaks: list[tuple[dict[str, Value], Guards, dict[Any, Any]]] = field(default_factory=list)
    """How rounds were left: what names were, when, and what the round had done to the heap."""
    broke: bool = False
    """Was the last of these a ``break``?"""
    skipped: ast.Continue | None = None
    """The ``continue`` by which the round that runs was left."""
    yields: list[Value] = field(default_factory=list)
    loops: list[tuple[int, int]] = field(default_factory=list)
    """Rows of the loops that run, the outermost first, and the youngest object when each began."""
    chain: tuple[str, ...] = ()
    statement: tuple[int, int] = (0, 0)
    """Rows of the statement that runs."""
    dropped: ast.expr | None = None
    """The last expression that stood as a statement: nobody takes its value."""
    number: int = 0
    """Tells one run of a function from another."""
    body: list[ast.stmt] | None = None
    """What is run of the function; None for all of it."""
    journal: int = 0
    """Number of journals that were open when the function began."""
    round: int = 0
    """Number of journals that were open when the round began that runs."""
    repeats: list[int] = field(default_factory=list)
    """The journals of the loops that run of which one round stands for any number."""
