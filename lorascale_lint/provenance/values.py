"""What a term means: a number, text, tensor, container, object, function, or a named place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from lorascale_lint.bounds import OPTION_LIMIT
from lorascale_lint.immutable import immutable, replace
from lorascale_lint.provenance.guards import Guards, contradict, either, in_common
from lorascale_lint.provenance.marks import MANY
from lorascale_lint.provenance.scale import ONE, Scale

if TYPE_CHECKING:
    import ast

    from lorascale_lint.ledger.entries import Norm
    from lorascale_lint.ledger.spots import Spot
    from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo


@immutable(frozen=True, slots=True)
class Value:
    """Base of all values."""


Keywords = list[tuple[str, Value]]
"""Arguments of a call that are given by name, in their order."""


@immutable(frozen=True, slots=True)
class Const(Value):
    """None, True, False, Ellipsis, bytes: a literal that is neither number nor text."""

    value: Any = None


NONE = Const(None)


@immutable(frozen=True, slots=True)
class Number(Value):
    """A number; ``truncated`` if it went through ``int`` or ``//``; ``steps`` are how it was made."""

    scale: Scale
    truncated: bool = False
    spot: Spot | None = field(default=None, compare=False, repr=False)
    """Where the literal stands that it is, or that was multiplied into it."""
    steps: tuple[Multiplied, ...] = field(default=(), compare=False, repr=False)
    terms: tuple[Value, ...] = field(default=(), compare=False, repr=False)
    """The two numbers of a sum (or ``difference``) that is no product."""
    difference: bool = field(default=False, compare=False, repr=False)


@immutable(frozen=True, slots=True)
class Hole:
    """A piece of text that is not known: ``name`` tells equal pieces, ``has`` what it is known to contain."""

    name: Any
    has: frozenset[str] = frozenset()
    root: Any = field(default=None, compare=False)
    """The piece of text that it was cut out of."""


@immutable(frozen=True, slots=True)
class Text(Value):
    """A string: literal pieces and holes, in order."""

    parts: tuple[str | Hole, ...]

    @property
    def literal(self) -> str | None:
        """The string itself if all of it is known."""
        if not self.parts:
            return ""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], str) else None


@immutable(frozen=True, slots=True)
class Place(Value):
    """Something nobody computed in sight, by the way it is named; ``role`` by the names on that way."""

    path: str
    role: str | None = None
    weak: bool = False
    """Only the name says so, in LoRA code."""
    under: Any = None
    """The piece of text in the key under which it stands: what is found out about it gives a role."""
    made: str = ""
    """What kind of thing: ``call`` for the result of a call out of sight."""

    def __hash__(self) -> int:
        return hash((self.path, self.role))


@immutable(frozen=True, slots=True)
class Tensor(Value):
    """A tensor, or a module that holds one (``module``).

    ``kind``: data, base, A, B, half (of a product), delta, adapted (base and delta),
    fresh (made here), magnitude, kronecker, bias (of a factor B). ``dims`` are extents where they are known,
    outermost first.
    """

    kind: str
    scale: Scale = ONE
    side: str = ""
    """Of a half, the factor that it went through; of a norm or magnitude, the kind of what the norm is of."""
    space: str = "weight"
    """weight or activation, for a delta and what it is added to."""
    transposed: bool = False
    module: bool = False
    dims: tuple[Value, ...] = ()
    zero: bool = False
    learned: bool = False
    variant: str = "lora"
    layout: str = ""
    """``out_in`` (B is out x r, A is r x in) or ``in_out``, where a product has shown it.

    ``crossed out_in`` where an activation has met the wrong side of such a delta.
    """
    rows: tuple[int, ...] = ()
    """Rows of the products that made it, in the file where the last one stands."""
    origin: str = ""
    steps: tuple[Multiplied, ...] = field(default=(), compare=False, repr=False)
    """What was multiplied onto it, and onto what it was made of, in order."""
    joined: frozenset[int] = field(default=frozenset(), compare=False, repr=False)
    """Axes along which it is several factors side by side."""
    parts: tuple[Scale, ...] = field(default=(), compare=False, repr=False)
    """What was multiplied onto each of these factors."""
    norm: Norm | None = field(default=None, compare=False, repr=False)
    """What divides it; of a norm, that norm."""
    length: Tensor | None = field(default=None, compare=False, repr=False)
    """Of base and delta, and of what is left of them without the base: the magnitude on their rows.

    Of a magnitude that the project makes, the norm as which it starts."""
    summed: Spot | None = field(default=None, compare=False, repr=False)
    """Where base and delta met."""

    def __hash__(self) -> int:
        return hash((self.kind, self.side, self.scale, self.rows))  # what tells most of them apart


@immutable(frozen=True, slots=True, eq=False)
class Multiplied:
    """A number is multiplied onto something (or divides it); the ledger has those of tensors.

    The node of ``spot`` is the whole operation, ``number`` the expression of the number in it.
    """

    spot: Spot
    number: ast.expr | None
    scale: Scale
    """What it brings; where it divides, the inverse of the number."""
    by: Value
    """The number, with the steps in which it was made."""
    before: Value
    """What it was multiplied onto, with the earlier steps."""
    guards: Guards = ()


@immutable(frozen=True, slots=True)
class Tup(Value):
    """A tuple (or another fixed row of values)."""

    items: tuple[Value, ...]


@immutable(frozen=True, slots=True)
class Ref(Value):
    """A list, dict or object on the heap."""

    key: int
    kind: str
    """list, dict, object"""
    cls: ClassInfo | None = None


@immutable(frozen=True, slots=True)
class Closure(Value):
    """A function of the project: with the names around it, its receiver, and arguments given already."""

    info: FunctionInfo
    receiver: Value | None = None
    env: Any = field(default=None, compare=False, repr=False)
    given: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()
    owner: ClassInfo | None = None
    """Class on which the method was found, for ``super``."""


@immutable(frozen=True, slots=True)
class Klass(Value):
    """A class of the project."""

    info: ClassInfo


@immutable(frozen=True, slots=True)
class Library(Value):
    """Something of a library or of Python itself, by its dotted name."""

    name: str


@immutable(frozen=True, slots=True)
class Method(Value):
    """A method, by name, of a value that is no object of the project."""

    receiver: Value
    name: str


@immutable(frozen=True, slots=True)
class Partial(Value):
    """A callable with arguments given already."""

    callee: Value
    args: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]


@immutable(frozen=True, slots=True)
class Regex(Value):
    """A regular expression of the checked code."""

    pattern: str
    flags: int = 0


@immutable(frozen=True, slots=True)
class Matched(Value):
    """What a regular expression has found: the whole first, then its groups."""

    groups: tuple[str | None, ...]
    names: tuple[tuple[str, int], ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


class Alternative(NamedTuple):  # made a million times in a project: half the time of a frozen dataclass
    """One value that something may have, and under which conditions."""

    value: Value
    guards: Guards = ()


@immutable(frozen=True, slots=True)
class Union(Value):
    """Several values, one of which it is."""

    options: tuple[Alternative, ...]

    def __hash__(self) -> int:
        return hash((len(self.options), self.options[0].value, self.options[-1].value))


@immutable(frozen=True, slots=True)
class Element(Value):
    """Some element of what is iterated, out of sight."""

    source: Value


UNKNOWN = Place("?")


def is_one(place: Place) -> bool:
    """Is the place always the same thing? Two of which nothing is known are not one."""
    return place != UNKNOWN and not place.path.startswith(MANY)


def options(value: Value) -> tuple[Alternative, ...]:
    """The alternatives of ``value``."""
    return value.options if isinstance(value, Union) else (Alternative(value),)


def select(value: Value, guards: Guards) -> Value:
    """What is left of ``value`` where ``guards`` hold."""
    if not isinstance(value, Union) or not guards:
        return value
    kept = tuple(option for option in value.options if not contradict(option.guards, guards))
    return one_of(kept) if kept else value


def some_of(value: Value, there: Callable[[Value], bool]) -> tuple[Alternative, ...]:
    """The alternatives for which ``there`` is true; empty where that leaves all of them, or none."""
    found = value.options if isinstance(value, Union) else ()
    kept = tuple(option for option in found if there(option.value))
    return kept if len(kept) < len(found) else ()


def one_of(kept: tuple[Alternative, ...]) -> Value:
    """What is one of some alternatives."""
    return kept[0].value if len(kept) == 1 else Union(kept)


def join(pairs: list[tuple[Value, Guards]]) -> Value:
    """One value out of several, each under its conditions."""
    first = pairs[0][0] if pairs else UNKNOWN
    if not isinstance(first, Union):
        for value, _ in pairs:
            if value is not first:
                break
        else:
            return first
        if len(pairs) == 2 and not isinstance(pairs[1][0], Union):  # the two ways of most conditions
            return first if first == pairs[1][0] else Union((Alternative(*pairs[0]), Alternative(*pairs[1])))
    found: dict[Value, tuple[Guards, ...]] = {}
    for value, guards in pairs:
        if not isinstance(value, Union):
            found[value] = either(found.get(value, ()), guards)
            continue
        denied = {(name, not holds) for name, holds in guards}
        for inner, own in value.options:
            if not own:
                own = guards
            elif not guards:
                own = tuple(dict.fromkeys(own)) if len(own) > 1 else own
            else:
                if not denied.isdisjoint(own):
                    continue
                own = tuple(dict.fromkeys((*guards, *own)))
            found[inner] = either(found.get(inner, ()), own)
    if not found:
        return UNKNOWN
    if len(found) == 1:
        return next(iter(found))
    if sum(map(len, found.values())) > OPTION_LIMIT:
        found = {value: (in_common(ways),) for value, ways in found.items()}
    if len(found) > OPTION_LIMIT:
        found = _alike(found)
    if len(found) > OPTION_LIMIT:
        return widen(list(found))
    if len(found) == 1:
        return next(iter(found))
    return Union(tuple(Alternative(value, guards) for value, ways in found.items() for guards in ways))


def _alike(found: dict[Value, tuple[Guards, ...]]) -> dict[Value, tuple[Guards, ...]]:
    """The same alternatives, told apart by what they are and by their scale only.

    How often a list was made on the way depends on what was followed before, and hides no factor beside it.
    """
    made: dict[Value, tuple[Guards, ...]] = {}
    for value, ways in found.items():
        small = value
        if isinstance(value, Tensor):
            small = replace(
                value, dims=(), rows=(), origin="", transposed=False, scale=_by_meaning(value.scale)
            )
        elif isinstance(value, Number):
            small = Number(_by_meaning(value.scale))
        elif isinstance(value, Ref) and value.cls is None:
            small = Place(MANY)  # one of the lists and dictionaries that were made here
        made[small] = (in_common((*made.get(small, ()), *ways)),)
    return made


def _by_meaning(scale: Scale) -> Scale:
    """The scale by its roles; of one that is not known only why."""
    if not scale.unknowns():
        return scale.by_role()
    return Scale(powers=tuple(item for item in scale.powers if not item[0].role))


def widen(values: list[Value]) -> Value:
    """What several values have in common; an unknown place where that is nothing."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    # Beside a factor or a delta, a number and a tensor of which nothing is known may be one as well.
    told = [value for value in tensors if value.kind not in ("data", "number")]
    if told and all(isinstance(value, Tensor | Number | Place) for value in values):
        kinds = {(value.kind, value.side) for value in told}
        scales = {value.scale for value in told}
        if len(kinds) == 1:
            if len(scales) == 1 and len(told) == len(values):
                return replace(told[0], dims=(), rows=())
            return replace(told[0], dims=(), rows=(), scale=Scale.of("", MANY))
    return Place(MANY)


def combine(left: Value, right: Value, function: Any) -> Value:
    """``function`` of each pair of alternatives that can go together."""
    if not isinstance(left, Union) and not isinstance(right, Union):
        return function(left, right)  # type: ignore[no-any-return]
    pairs: list[tuple[Value, Guards]] = []
    for one in options(left):
        for two in options(right):
            if not contradict(one.guards, two.guards):
                guards = tuple(dict.fromkeys((*one.guards, *two.guards)))
                pairs.append((function(one.value, two.value), guards))
    return join(pairs) if pairs else UNKNOWN


def each(value: Value, function: Any) -> Value:
    """``function`` of each alternative."""
    if not isinstance(value, Union):
        return function(value)  # type: ignore[no-any-return]
    return join([(function(option.value), option.guards) for option in value.options])
