"""The kinds of entries in the ledger.

Every entry has a `Spot` (where, in which function, on an object of which class, called from where) and the
conditions that hold there (``guards``). Values are those of `lorascale_lint.provenance.values`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from lorascale_lint.findings import Position, Span
from lorascale_lint.knowledge.samples import Sample
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Guards, Multiplied, Tensor, Text, Value
from lorascale_lint.sources.loc import Loc

if TYPE_CHECKING:
    from lorascale_lint.linking.program import ClassInfo, FileInfo, FunctionInfo

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where something happened: file, function, class of the receiver, node, and the calls that led there.

    ``chain`` holds ``file:row`` of each call, outermost first; it is empty where the function was looked at
    by itself, with nothing known of its arguments but their names.
    """

    file: FileInfo
    function: FunctionInfo | None
    cls: ClassInfo | None
    node: ast.AST
    chain: tuple[str, ...] = ()
    statement: tuple[int, int] = (0, 0)
    """First and last row of the statement."""

    @property
    def row(self) -> int:
        """First row, from 1."""
        return getattr(self.node, "lineno", 1)

    @property
    def end_row(self) -> int:
        """Last row, from 1."""
        return getattr(self.node, "end_lineno", None) or self.row

    @property
    def name(self) -> str:
        """Qualified name of the function, ``<module>`` for the top level."""
        return self.function.qualname if self.function is not None else "<module>"

    @property
    def span(self) -> Span:
        """The place as findings carry it: columns count characters."""
        return span_of(self.file, self.node)

    @property
    def loc(self) -> Loc:
        """The place as codemods look for it."""
        return loc_of(self.file, self.node)


def name_spot(function: FunctionInfo) -> Spot:
    """The name in the definition of a function."""
    node = function.node
    words = len("async def ") if isinstance(node, ast.AsyncFunctionDef) else len("def ")
    column = node.col_offset + words
    name = ast.Name(function.name, lineno=node.lineno, col_offset=column, end_lineno=node.lineno)
    name.end_col_offset = column + len(function.name.encode())
    return Spot(function.file, function, function.owner, name, (), (node.lineno, node.lineno))


def span_of(file: FileInfo, node: ast.AST) -> Span:
    """The source range of ``node``; columns of `ast` count bytes, those of a finding characters."""
    row = getattr(node, "lineno", 1)
    end = getattr(node, "end_lineno", None) or row
    return Span(
        file.filename,
        Position(row, _column(file, row, getattr(node, "col_offset", 0))),
        Position(end, _column(file, end, getattr(node, "end_col_offset", None) or 0)),
    )


def loc_of(file: FileInfo, node: ast.AST) -> Loc:
    """The source range of ``node``, by which a codemod finds it in the tree that it rewrites."""
    span = span_of(file, node)
    return Loc(span.start.row, span.start.column, span.end.row, span.end.column)


def _column(file: FileInfo, row: int, offset: int) -> int:
    lines = file.lines
    text = lines[row - 1] if 0 < row <= len(lines) else ""
    return (offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Apply:
    """A delta meets its base. ``kind`` is merge, forward or unmerge; ``rows`` are those of its products."""

    spot: Spot
    kind: str
    scale: Scale
    guards: Guards
    base: Value
    variant: str
    rows: tuple[int, ...]
    layout: str = ""
    """How the factors lie, as in `lorascale_lint.provenance.values.Tensor`, where a product has shown it."""
    factors: str = ""
    """Where the factors came from: ``Class.field`` for those that an object of the project holds."""
    transposed: bool = False
    """Is the delta turned after its product was made: ``(B @ A).T``?"""
    steps: tuple[Multiplied, ...] = ()
    """Each number that was multiplied onto the delta or a factor, in order."""
    operand: int = 1
    """Which operand of the sum the delta is: 0 for the left one."""


@dataclass(frozen=True, slots=True, eq=False)
class Rescale:
    """Rows of something are multiplied by DoRA's magnitude over the norm of ``norm_of``.

    That is the kind of a tensor: base, adapted, delta or another; empty where no norm was seen.
    """

    spot: Spot
    value: Tensor
    norm_of: str
    guards: Guards
    magnitude: Tensor
    """``learned`` if the project makes it; ``rows`` are those of the products whose norm divides it."""
    norm: Norm | None = None
    """What divides, where it was seen; it may be another statistic than the norm."""


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A norm is taken of a tensor of the kind ``of``; ``rows`` are those of the products in it.

    ``how`` is ``norm``, or the name of the statistic that stands in its place.
    """

    spot: Spot
    of: str
    rows: tuple[int, ...]
    value: Tensor
    how: str = "norm"


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A matrix product: ``kind`` is delta, half, other or unknown."""

    spot: Spot
    kind: str
    variant: str
    scale: Scale | None
    base: str
    reasons: tuple[str, ...]
    layout: str = ""
    """How the factors lie, as in `Apply`."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A factor multiplied by a number and kept."""

    spot: Spot
    side: str
    scale: Scale
    guards: Guards
    steps: tuple[Multiplied, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class BiasSum:
    """The bias of a factor B times ``scale`` meets the bias of the base."""

    spot: Spot
    scale: Scale
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class FactorSum:
    """A factor times ``scale`` is added to another factor of the same side: adapters are summed."""

    spot: Spot
    side: str
    scale: Scale
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """A field of an object is set; ``before`` is what it held (None: nothing that was seen).

    ``field`` is empty where its name is computed. ``weight.copy_(value)`` sets the
    field ``data`` of the weight.
    """

    spot: Spot
    owner: Value
    field: str
    value: Value
    before: Value | None
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class KeyWrite:
    """An entry of a dictionary, state dict or module dictionary is set.

    ``name`` is the field of an object that holds the dictionary, empty where there is none.
    """

    spot: Spot
    container: Value
    key: Value
    value: Value
    guards: Guards
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class KeyRead:
    """An entry is read; ``how`` is item, get, pop or in; attribute for a part of a configuration.

    ``del`` is an entry that is thrown away: ``del sd[key]``, or ``sd.pop(key)`` as a statement; ``all`` is a
    whole table of numbers that is copied or walked, ``clear`` one that is emptied (the key is unknown).
    """

    spot: Spot
    container: Value
    key: Value
    value: Value
    how: str
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class FieldRead:
    """Alpha, the rank or a scale is read from a field of an object of the project, not the receiver."""

    spot: Spot
    owner: Value
    field: str
    value: Value
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """A function or class is called: of a library (``name`` is dotted) or of the project (``callee``).

    ``given`` are the arguments by parameter name where that is known, else by position (``"0"``, ``"1"``);
    lists are rows of what they held then.
    """

    spot: Spot
    name: str
    callee: FunctionInfo | ClassInfo | None
    given: Mapping[str, Value]
    result: Value
    guards: Guards


def argument_of(use: Use, parameter: str) -> Spot | None:
    """Where the argument for ``parameter`` stands in a call; None for one behind a star."""
    call, callee = use.spot.node, use.callee
    if not isinstance(call, ast.Call):
        return None
    for keyword in call.keywords:
        if keyword.arg == parameter:
            return replace(use.spot, node=keyword.value)
    names = (
        list(use.given)[: len(call.args)] if callee is not None else [str(i) for i in range(len(call.args))]
    )
    if parameter not in names or any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    return replace(use.spot, node=call.args[names.index(parameter)])


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A number or a flag is tested: ``how`` is truth, none or a comparison's sign.

    ``Mod``, ``is_integer`` and ``isinstance`` are questions whether it is a whole number; ``isinstance`` is
    kept for any value, and ``other`` are the classes.
    """

    spot: Spot
    value: Value
    how: str
    other: Value | None
    guards: Guards
    atom: str = ""
    """The condition as guards call it."""


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """A local name that says what a number means (``alpha``, ``scale``) is given a value."""

    spot: Spot
    name: str
    value: Value
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Quotient:
    """A number is divided by one of LoRA code; ``floor`` if the result is rounded down.

    ``result`` has the alternatives of both that go together.
    """

    spot: Spot
    value: Value
    by: Value
    floor: bool
    result: Value
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """A number is made whole: by ``int`` or ``round``, or as a tensor of an integer type (``how``: tensor).

    ``operand`` is where it stands.
    """

    spot: Spot
    operand: Spot
    value: Value
    result: Value
    how: str
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    """A function gives a value back."""

    spot: Spot
    value: Value
    guards: Guards


@dataclass(frozen=True, slots=True, eq=False)
class Unused:
    """A parameter with a role that the function never reads (or reads in tests and messages only)."""

    spot: Spot
    parameter: str
    role: str


@dataclass(frozen=True, slots=True, eq=False)
class Default:
    """What an option of the program, a field or a parameter is where nobody sets it.

    ``how`` is option, field or parameter; ``owner`` the class of a field or the function of a parameter.
    """

    spot: Spot
    name: str
    value: Value
    how: str
    owner: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A function was run on an adapter file with the keys of ``sample``.

    ``spot`` is where the file comes in: the call that opens it, or a use of the ``parameter`` that holds it.
    ``ledger`` tells what happened then, with keys known letter by letter; ``whole`` if it came to the end.
    """

    spot: Spot
    function: FunctionInfo | None
    parameter: str
    sample: Sample
    tensors: Mapping[str, Value]
    given: Value
    ledger: Ledger
    held: Mapping[int, tuple[tuple[Value, Value], ...]]
    """What dictionaries and lists hold at the end, by their key on the heap."""
    whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A regular expression in a table that maps names of a module with one more part: ``^blocks\\.(.*)$``.

    ``keeps_end`` if what it is replaced by ends in what its last group matched.
    """

    spot: Spot
    text: str
    keeps_end: bool


@dataclass(slots=True)
class Ledger:
    """Everything that happened, in the order in which it was seen."""

    read_source: Callable[[str], bytes] = lambda _: b""
    """Gives the source of a file, for the codemods."""
    lineage: Callable[[ClassInfo], list[ClassInfo]] = lambda cls: [cls]
    """Gives a class and its bases in the project, nearest first."""
    read_elsewhere: Callable[[str], bool] = lambda _: False
    """Does a file without a word of LoRA read an attribute called so, of something that is no settings?"""
    applies: list[Apply] = field(default_factory=list)
    rescales: list[Rescale] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    multiplied: list[Multiplied] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    factor_sums: list[FactorSum] = field(default_factory=list)
    bias_sums: list[BiasSum] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    writes: list[KeyWrite] = field(default_factory=list)
    reads: list[KeyRead] = field(default_factory=list)
    parts: list[KeyRead] = field(default_factory=list)
    """Attributes called as the fields of an adapter's configuration, of what is no object of the project."""
    field_reads: list[FieldRead] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    binds: list[Bind] = field(default_factory=list)
    quotients: list[Quotient] = field(default_factory=list)
    roundings: list[Rounding] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    only_tested: list[Unused] = field(default_factory=list)
    """Parameters that nothing but tests and messages reads; those of ``unused`` are among them."""
    defaults: list[Default] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    fields_read: set[tuple[str, str]] = field(default_factory=set)
    """Attributes that code of the files reads: class (empty for another receiver than ``self``) and name."""
    crashes: list[tuple[str, str]] = field(default_factory=list)
    """Files, and functions of them on which the engine itself failed."""
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    """Statements, by file and row, that were not followed, and why."""
    bounds: list[str] = field(default_factory=list)
    """Functions for which a bound of work was passed, so that something may be missing."""
    readings: dict[object, object] = field(default_factory=dict)
    """What `once` has made."""

    def once(self, make: Callable[[Ledger], Made]) -> Made:
        """``make(self)``, which is kept for whoever asks the same of this ledger: it must be complete."""
        if make not in self.readings:
            self.readings[make] = make(self)
        return self.readings[make]  # type: ignore[return-value]


__all__ = [
    "Apply",
    "Ask",
    "BiasSum",
    "Bind",
    "Default",
    "FactorSum",
    "FieldRead",
    "Fold",
    "KeyRead",
    "KeyWrite",
    "Ledger",
    "Multiplied",
    "Norm",
    "Pattern",
    "Product",
    "Quotient",
    "Rescale",
    "Return",
    "Rounding",
    "Spot",
    "Store",
    "Text",
    "Trial",
    "Unused",
    "Use",
]
