"""The kinds of entries in the ledger.

Every entry has a `Spot` (where, in which function, on an object of which class, called from where) and the
conditions that hold there (``guards``). Values are those of `lorascale_lint.provenance.values`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.interfaces import PARAMETERS
from lorascale_lint.knowledge.samples import Sample
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import dotted
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import UNKNOWN, Multiplied, Tensor, Value

if TYPE_CHECKING:
    from lorascale_lint.ledger.ledger import Ledger
    from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Norm:
    """A norm is taken of a tensor of the kind ``of``; ``rows`` are those of the products in it.

    ``how`` is ``norm``, or the name of the statistic that stands in its place.
    """

    spot: Spot
    of: str
    rows: tuple[int, ...]
    value: Tensor
    how: str = "norm"


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Fold:
    """A factor multiplied by a number and kept."""

    spot: Spot
    side: str
    scale: Scale
    guards: Guards
    steps: tuple[Multiplied, ...] = ()


@immutable(frozen=True, slots=True, eq=False)
class BiasSum:
    """The bias of a factor B times ``scale`` meets the bias of the base."""

    spot: Spot
    scale: Scale
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
class DifferenceSum:
    """A raw difference that an adapter holds beside factors, or an entry of its file, is added as it is.

    ``origin`` is the entry; ``base`` what it is added to.
    """

    spot: Spot
    origin: str
    base: Value
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
class FactorSum:
    """A factor times ``scale`` is added to another factor of the same side: adapters are summed."""

    spot: Spot
    side: str
    scale: Scale
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Spread:
    """All that ``source`` holds is put into a dictionary: ``{"step": step, **settings}``, ``update``."""

    spot: Spot
    container: Value
    source: Value


@immutable(frozen=True, slots=True, eq=False)
class Skip:
    """``continue`` ends a round of a loop over known items: ``item`` is the one of that round."""

    spot: Spot
    item: Value


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class FieldRead:
    """Alpha, the rank or a scale is read from a field of an object of the project, not the receiver."""

    spot: Spot
    owner: Value
    field: str
    value: Value
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
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
    hidden: bool
    """Are there arguments out of sight, behind one star or two?"""
    rest: Value = UNKNOWN
    """The one dictionary behind two stars, not all keys of which are names."""

    @property
    def called(self) -> str:
        """The function's own name: ``fuse_lora`` of ``pipe.fuse_lora``."""
        return self.name.rpartition(".")[2]

    @property
    def receiver(self) -> str:
        """What it is called of, as it is written: ``self.pipe`` of ``self.pipe.fuse_lora()``, or nothing."""
        match self.spot.node:
            case ast.Call(func=ast.Attribute(value=owner)):
                return dotted(owner)
            case _:
                return ""


def named_arguments(use: Use) -> dict[str, Value]:
    """The arguments of a call, with those of a library's method that is known by the names it gives them."""
    names = PARAMETERS.get(use.called, ()) if use.callee is None else ()
    known = {str(index): name for index, name in enumerate(names)}
    return {known.get(name, name): value for name, value in use.given.items()}


def has_star(node: ast.AST) -> bool:
    """Is it a call of which some arguments stand behind ``*`` or ``**``?"""
    return isinstance(node, ast.Call) and (
        any(keyword.arg is None for keyword in node.keywords)
        or any(isinstance(part, ast.Starred) for part in node.args)
    )


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


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Bind:
    """A local name is given a value: one that says what a number means (``scale``), or has alpha in it."""

    spot: Spot
    name: str
    value: Value
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Return:
    """A function gives a value back."""

    spot: Spot
    value: Value
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
class Unused:
    """A parameter with a role that the function never reads (or reads in tests and messages only)."""

    spot: Spot
    parameter: str
    role: str


@immutable(frozen=True, slots=True, eq=False)
class Default:
    """What an option of the program, a field or a parameter is where nobody sets it.

    ``how`` is option, field or parameter; ``owner`` the class of a field or the function of a parameter.
    """

    spot: Spot
    name: str
    value: Value
    how: str
    owner: str = ""


@immutable(frozen=True, slots=True, eq=False)
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


@immutable(frozen=True, slots=True, eq=False)
class Pattern:
    """A regular expression in a table that maps names of a module with one more part: ``^blocks\\.(.*)$``.

    ``keeps_end`` if what it is replaced by ends in what its last group matched.
    """

    spot: Spot
    text: str
    keeps_end: bool
