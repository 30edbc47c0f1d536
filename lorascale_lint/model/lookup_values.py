"""What an entry of a container is: by its key, by its table of keys, by what was stored in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Item,
    Loc,
    Mapping as MappingTerm,
    Opaque,
    Param,
    Sequence,
    Term,
)
from lorascale_lint.model.adapter_keys import guarded_role
from lorascale_lint.model.bound_names import bound_sides
from lorascale_lint.model.containers import (
    comes_from_call,
    container_of,
    may_fold,
    new_value,
    zipped_source,
)
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.key_tables import table_place, tabled_role
from lorascale_lint.model.paired_keys import paired_sides
from lorascale_lint.model.project import (
    Function,
    bound_arguments,
    is_receiver,
    stored_values,
)
from lorascale_lint.model.scale import ALPHA, ONE, RANK, SCALING, UNKNOWN, Scale
from lorascale_lint.model.values import (
    Alternative,
    Delta,
    Factor,
    Number,
    Tensor,
    Through,
    Unknown,
    Value,
    folded_scale,
    scaled,
)
from lorascale_lint.model.vocabulary import (
    factor_side,
    is_alpha_key,
    key_role,
    key_side,
)

if TYPE_CHECKING:
    from lorascale_lint.model.evaluate import Evaluator

_CONFIGURED_RANKS = frozenset(["r", "lora_rank", "lora_r"])
_CONFIGURED_ALPHAS = frozenset(["lora_alpha", "'lora_alpha'", '"lora_alpha"'])


@dataclass
class Lookups:
    """Evaluates items for ``evaluator``; the factors that locals are named after are kept by function."""

    evaluator: Evaluator
    _bound: dict[int, dict[Loc, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = self.evaluator.project

    def item(self, term: Item, frame: Frame) -> tuple[Alternative, ...]:
        base = term.base
        if isinstance(base, Attr) and base.name in ("shape", "size"):
            return (Alternative(self.extent(base.base, frame)),)
        if isinstance(base, Call) and isinstance(base.func, Attr) and base.func.name in ("size", "shape"):
            return (Alternative(self.extent(base.func.base, frame)),)
        stored = tuple(stored_values(term))
        if stored:
            return tuple(a for option in stored for a in self.evaluator.values(option, frame))
        zipped = zipped_source(term)
        if zipped is not None:
            found = self.element(zipped, frame)
            if found:
                return found
        key = key_pattern(term.key)
        side = key_side(key) or self.bound_side(term, frame)
        tabled = None if side is not None else self._tabled_role(term.key, frame)
        side = tabled if tabled in ("A", "B") else side
        if (
            side is None
            and (is_alpha_key(key) or tabled == "alpha")
            and self.evaluator.in_lora_context(frame.function)
        ):
            role = Scale.of(SCALING if key.endswith("_scale") else ALPHA)
            return tuple(Alternative(Number(role * scale)) for scale in self._folded(term, frame))
        if key in _CONFIGURED_RANKS and _CONFIGURED_ALPHAS & frame.function.facts.words:
            return (Alternative(Number(Scale.of(RANK))),)  # `config["r"]` beside `config["lora_alpha"]`
        if side in ("A", "B"):
            return tuple(
                Alternative(Factor("A" if side == "A" else "B", scale)) for scale in self._folded(term, frame)
            )
        if isinstance(base, Choice):
            return self.evaluator.choice(
                base.test, Item(base.then, term.key, term.loc), Item(base.other, term.key, term.loc), frame
            )
        part = self._returned_part(base, term.key, frame) if isinstance(base, Call) else None
        part = part or self._paired(base, term.key, frame)
        if part is not None:
            return part
        inner = self.evaluator.values(base, frame)
        if any(isinstance(a.value, Factor | Number | Delta | Through) for a in inner):
            return inner
        opaque = comes_from_call(base)
        return tuple(Alternative(Tensor(scale, opaque=opaque)) for scale in self._folded(term, frame))

    def element(self, source: Term, frame: Frame) -> tuple[Alternative, ...]:
        """An element of a list of factors (``self.lora_A_weights``), as it was appended; only for `map`."""
        if not self.evaluator.for_map or not isinstance(source, Attr):
            return ()
        side = factor_side(source.name, False)
        if side is None:
            return ()
        scales: dict[Scale, None] = {}
        for caller, value in self.project.appended(source.name):
            for alternative in self.evaluator.values(value, self.evaluator.frame(caller)):
                scale = folded_scale(alternative.value)
                scales[UNKNOWN if scale is None else scale] = None
        factor = Factor("A" if side == "A" else "B")
        return tuple(Alternative(scaled(factor, scale)) for scale in scales or (UNKNOWN,))

    def bound_side(self, term: Item | Call, frame: Frame) -> str | None:
        """The factor that a lookup gives by the name of its local, where the key does not tell."""
        known = self._bound.get(id(frame.function))
        if known is None:
            known = self._bound[id(frame.function)] = {
                **paired_sides(frame.function),
                **bound_sides(frame.function),
            }
        return known.get(term.loc)

    def _tabled_role(self, key: Term, frame: Frame) -> str | None:
        """What a key names that is kept in a table of keys, here or in what a project function returns."""
        place = table_place(key)
        if place is None:
            return None
        table, position = place
        return tabled_role([value for _, value, *_ in self._stored(table, frame)], position)

    def _returned_part(self, call: Call, key: Term, frame: Frame) -> tuple[Alternative, ...] | None:
        """``f(...)[i]`` for a project function that returns tuples."""
        index = key.value if isinstance(key, Const) else None
        if not isinstance(index, int):
            return None
        found: list[Alternative] = []
        for function, inner in self.evaluator.calls.entered(call, frame) or ():
            for event in function.events("return"):
                if isinstance(event.value, Sequence) and index < len(event.value.items):
                    found.extend(self.evaluator.values(event.value.items[index], inner))
                elif not (isinstance(event.value, Const) and event.value.value is None):
                    found.append(Alternative(Tensor(opaque=True)))
        return tuple(found) or None

    def _paired(self, base: Term, key: Term, frame: Frame) -> tuple[Alternative, ...] | None:
        """A factor of a pair that a parameter or an attribute holds: ``self.lora = (lora_a, lora_b)``."""
        index = key.value if isinstance(key, Const) else None
        if not isinstance(index, int) or isinstance(index, bool) or not isinstance(base, Param | Attr):
            return None
        found: list[Alternative] = []
        for pair, inner in self._pairs(base, frame, 4):
            if not isinstance(pair, Sequence) or pair.repeated or len(pair.items) != 2 or index not in (0, 1):
                return None
            found.extend(self.evaluator.values(pair.items[index], inner))
        whole = bool(found) and all(isinstance(a.value, Factor) for a in found)
        return tuple(found) if whole else None

    def _pairs(self, term: Term, frame: Frame, depth: int) -> Iterator[tuple[Term, Frame]]:
        """What ``term`` may hold, apart from None, and where that is evaluated."""
        match term:
            case Const(value=None):
                pass
            case Choice(then=then, other=other):
                yield from self._pairs(then, frame, depth)
                yield from self._pairs(other, frame, depth)
            case Param(name=name) if depth and frame.arguments is not None and name in frame.arguments:
                argument, outer = frame.arguments[name]
                yield from self._pairs(argument, outer, depth - 1)
            case Param(name=name) if depth and term.function == frame.function.facts.qualname:
                given = [
                    (bound_arguments(site.call, frame.function).get(name), site.caller)
                    for site in self.project.call_sites(frame.function)
                ]
                for option, caller in given:
                    if option is not None:
                        yield from self._pairs(option, self.evaluator.frame(caller), depth - 1)
            case Attr(base=owner, name=name) if depth and is_receiver(owner, frame.function):
                writes = self.project.writes(frame.self_class, name) if frame.self_class else ()
                for write in writes:
                    if not write.on_self or write.event.sign or isinstance(write.event.target, Item):
                        yield term, frame
                    else:
                        inner = self.evaluator.frame(write.function, frame.self_class)
                        yield from self._pairs(write.event.value, inner, depth - 1)
            case _:
                yield term, frame

    def _folded(self, term: Item, frame: Frame) -> tuple[Scale, ...]:
        """Scales multiplied into the tensors that were stored in the container of an item."""
        scales: dict[Scale, None] = {}
        wanted = key_role(key_pattern(term.key))
        for key, value, asked, inner in self._stored(container_of(term), frame):
            stored = key_role(key_pattern(key)) or asked
            if wanted is not None and stored is not None and stored != wanted:
                continue
            if isinstance(value, Opaque):  # rescaled where it is stored
                scales[UNKNOWN] = None
                continue
            for alternative in self.evaluator.values(value, inner):
                scale = folded_scale(alternative.value)
                if scale is not None:
                    scales[scale] = None
                elif isinstance(alternative.value, Unknown) and may_fold(value):
                    scales[UNKNOWN] = None
        if self.evaluator.for_map and not scales and comes_from_call(term.base):
            return (UNKNOWN,)
        return tuple(scales) or (ONE,)

    def _stored(self, container: Term, frame: Frame) -> Iterator[tuple[Term, Term, str | None, Frame]]:
        """Keys and values stored in ``self.container`` anywhere, or in a local dictionary here.

        With them goes the role that the code has asked for, where the key itself shows none.
        """
        if isinstance(container, Attr) and is_receiver(container.base, frame.function) and frame.self_class:
            for write in self.project.writes(frame.self_class, container.name):
                if isinstance(write.event.target, Item):
                    event = write.event
                    asked = guarded_role(event.guards)
                    yield (
                        write.event.target.key,
                        new_value(event),
                        asked,
                        self.evaluator.frame(write.function),
                    )
        elif isinstance(container, Call | MappingTerm):
            for event in frame.function.events("write"):
                target = event.target
                if isinstance(target, Item) and container_of(target).loc == container.loc:
                    yield target.key, new_value(event), guarded_role(event.guards), frame
            for function, inner in self._makers(container, frame):
                for event in function.events("return"):
                    if isinstance(event.value, Call | MappingTerm) and event.value is not container:
                        yield from self._stored(event.value, inner)

    def _makers(self, container: Term, frame: Frame) -> list[tuple[Function, Frame]]:
        """The project functions that make ``container``."""
        return self.evaluator.calls.entered(container, frame) or [] if isinstance(container, Call) else []

    def extent(self, tensor: Term, frame: Frame) -> Value:
        """``tensor.shape[i]``: the rank if the tensor is a factor (no other extent is a divisor)."""
        factor = any(isinstance(a.value, Factor) for a in self.evaluator.values(tensor, frame))
        return Number(Scale.of(RANK) if factor else UNKNOWN)
