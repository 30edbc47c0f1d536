"""Numbers that both factors of a delta get, so that their product holds the square.

Either both factors of one function are multiplied by the same number, or every entry of an adapter file is,
whatever its key.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, DELTA, DIFF, RANK, STRENGTH, A, B, key_role, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.conditions import asked
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.pair_ratios import RATIOS, SquaredRatio, name_of, squared_in_pairs
from lorascale_lint.ledger.powers import HALF, powers_of, text_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import constant, key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import LOOP
from lorascale_lint.provenance.scale import ONE, Scale, Symbol
from lorascale_lint.provenance.values import (
    Multiplied,
    Number,
    Place,
    Tensor,
    Value,
    options,
)


def squared_ratios(ledger: Ledger) -> list[SquaredRatio]:
    """One for each place."""
    found: dict[tuple[str, int], SquaredRatio] = {}
    whole: set[FunctionInfo | None] = set()
    for item in (*squared_in_pairs(ledger), *_files(ledger), *_tried(ledger)):
        function = item.last.function
        if function in whole and function is not None:
            continue
        if item.whole_file:
            whole.add(function)
        if not item.last.file.is_test:
            found.setdefault((item.last.file.filename, item.last.row), item)
    return list(found.values())


def _is_ratio(scale: Scale) -> bool:
    """A user's number, or the trained scale: once, and nothing else."""
    symbol = only_symbol(scale)
    found = powers_of(scale)
    return (symbol is not None and (symbol.role in RATIOS or _is_weight(symbol))) or (
        found.is_trained and bool(found.alpha) and len(scale.powers) == 2 and scale.coefficient == 1
    )


def _is_weight(symbol: Symbol) -> bool:
    """Is it one of several weights that a caller gives: ``weights[*]``?"""
    return not symbol.role and symbol.origin.endswith("[*]") and "weights" in words(name_of(symbol))


# ---- every entry of a file ------------------------------------------------------------------


@immutable(frozen=True, slots=True)
class _Part:
    """An entry, under any key, times a scale."""

    entry: Place
    scale: Scale
    step: Multiplied | None


def _files(ledger: Ledger) -> Iterator[SquaredRatio]:
    places: dict[int, list[tuple[Spot, Multiplied | None]]] = defaultdict(list)
    for write in ledger.writes:
        if key_role_of(write.key) is None and not _names_side(write.spot.node) and _speaks(write.spot):
            places[id(write.spot.node)].append((write.spot, _scaled_entry(ledger, write)))
    for step in ledger.multiplied:
        if isinstance(step.before, Place) and not _names_side(step.spot.node) and _speaks(step.spot):
            known = _is_entry(step.before) and _is_number(ledger, step.spot, step.scale)
            known = known and not _apart(step.guards)
            places[id(step.spot.node)].append((step.spot, step if known else None))
    functions = set()
    for looks in places.values():
        steps = [step for _, step in looks if step is not None]
        spot = looks[0][0]
        if steps and len(steps) == len(looks) and (spot.file, spot.function) not in functions:
            functions.add((spot.file, spot.function))
            yield SquaredRatio(text_of(steps[0]), spot, steps[0].spot, True, not _is_listed(steps[0]))


def _tried(ledger: Ledger) -> Iterator[SquaredRatio]:
    """What both factors of an adapter file have got when code that was tried on it writes them."""
    other = {  # what a caller gives is not that number
        id(write.spot.node)
        for write in ledger.writes
        if write.spot.chain and not _scaled_entry(ledger, write)
    }
    for trial in ledger.trials:
        sides: dict[str, list[tuple[Spot, Tensor]]] = {A: [], B: []}
        for write in trial.ledger.writes:
            value, spot = write.value, write.spot
            if not isinstance(value, Tensor) or value.kind not in sides or not value.steps:
                continue
            if id(spot.node) in other or _apart(write.guards):
                continue
            if _is_number(ledger, spot, value.scale):
                sides[value.kind].append((spot, value))
        for first, one in sides[A]:
            for last, two in sides[B]:
                if one.scale == two.scale:
                    yield SquaredRatio(text_of(two.steps[-1]), first, last, first.row == last.row)


def _scaled_entry(ledger: Ledger, write: KeyWrite) -> Multiplied | None:
    """The step that gives an entry its ratio, if what is written is such entries, under any key."""
    if any(_is_plain(option.value) for option in options(write.value)):
        return None
    for option in options(write.value):
        guards = (*write.guards, *option.guards)
        parts = list(_parts(option.value))
        scaled = [part for part in parts if part.step is not None]
        if not scaled or any(part is not None and _vetoes(part) for part in parts) or _apart(guards):
            continue
        target = write.container.path if isinstance(write.container, Place) else None
        own = target is None or all(_owner(part.entry) == target for part in parts)
        if own and all(_is_number(ledger, write.spot, part.scale, part) for part in scaled):
            return scaled[0].step
    return None


def _is_plain(value: Value) -> bool:
    """Is it a number in which no entry is, so that what is written is no table of tensors?"""
    parts = list(_parts(value)) if isinstance(value, Number) else []
    return bool(parts) and all(part.entry.path == "?" and not _vetoes(part) for part in parts)


def _parts(value: Value) -> Iterator[_Part]:
    """The entries in a sum, each with its scale; one of no entry at all where a term is something else."""
    if isinstance(value, Place) and _is_entry(value):
        yield _Part(value, ONE, None)
    elif isinstance(value, Number) and value.terms:
        for term in value.terms:
            yield from _parts(term)
    elif isinstance(value, Number) and value.scale.powers:
        leaves = [(leaf, step) for leaf, step in _leaves(value) if _is_entry(leaf)]
        if len(leaves) == 1:
            leaf = leaves[0][0]
            rest = value.scale * Scale.of("", leaf.path, -1)
            last = next((s for s in value.steps if s.scale != Scale.of("", leaf.path)), None)
            yield _Part(leaf, rest, last)
        else:
            yield _Part(Place("?"), value.scale, None)


def _leaves(value: Value) -> Iterator[tuple[Place, Multiplied | None]]:
    """The places that a number is a product of."""
    if isinstance(value, Place):
        yield value, None
    elif isinstance(value, Number):
        for step in value.steps:
            for leaf, _ in _leaves(step.by):
                yield leaf, step


def _is_entry(value: Value) -> bool:
    """Is it an entry of a file or dictionary under a key of which nothing is known?"""
    path = value.path if isinstance(value, Place) and value.role is None else ""
    if not isinstance(value, Place) or not ("[{" in path or path.endswith("[*]")):
        return False
    if "[" in path.rpartition("}")[2].removesuffix("[*]"):
        return False  # a field of an entry: `configs[key]["multiplier"]`
    owner = _owner(value)
    made = owner.endswith("()") and "load" not in words(owner.rpartition(".")[2].removesuffix("()"))
    parts = (word.rstrip("0123456789").removesuffix("s") for word in words(owner.rpartition(".")[2]))
    return not made and not any(role_of(part, True) in (DELTA, DIFF) for part in parts)


def _owner(entry: Place) -> str:
    return entry.path.partition("[{")[0].removesuffix("[*]")


def _vetoes(part: _Part) -> bool:
    """Is a term not understood, so that the ratios may add up to one? A root is no such ratio."""
    return any(not symbol.role and power != HALF for symbol, power in part.scale.powers)


def _is_number(ledger: Ledger, spot: Spot, scale: Scale, part: _Part | None = None) -> bool:
    """Is the scale a user's number, shown to be one, or the trained scale? A constant of a caller is one."""
    scale, of_two = _of_one(scale)
    roots = of_two or any(not symbol.role and power == HALF for symbol, power in scale.powers)
    known = Scale(scale.coefficient, tuple((s, p) for s, p in scale.powers if s.role))
    if not known.powers:
        return bool(spot.chain) and known.coefficient != 1
    if not _is_ratio(known):
        return False
    symbol = only_symbol(known)
    if symbol is None:
        return True
    name = symbol.origin.partition("=")[0]
    alone = part is None or part.step is None or not getattr(part.step.by, "steps", ())
    if name.endswith("[*]") and alone and not roots:
        return _speaks_of_adapters(spot)  # an average of whole models has a ratio for each, too
    last = name.removesuffix("[*]").rpartition(".")[2]
    if symbol.role == STRENGTH and "weight" not in words(last):
        return True
    return "." in name or _is_shown(ledger, spot.function, name)


def _of_one(scale: Scale) -> tuple[Scale, bool]:
    """The scale without the alphas and ranks of one adapter over those of another, and had it any?"""
    powers = scale.powers
    for role in (ALPHA, RANK):
        if sum(power for symbol, power in powers if symbol.role == role) == 0:
            powers = tuple(item for item in powers if item[0].role != role)
    return Scale(scale.coefficient, powers), powers != scale.powers


def _is_listed(step: Multiplied) -> bool:
    symbol = only_symbol(step.scale)
    return symbol is not None and symbol.origin.endswith("[*]") and not getattr(step.by, "steps", ())


def _speaks_of_adapters(spot: Spot) -> bool:
    """Do the names of the function, or the keys that it asks for, say that what it sums are adapters?"""
    function = spot.function
    if function is not None and {A, B} <= _sides(function.node):
        return True
    names = (
        "" if function is None else " ".join([function.qualname, *function.parameters, *function.names_read])
    )
    return speaks_of_lora(names)


def _is_shown(ledger: Ledger, function: FunctionInfo | None, name: str, further: bool = True) -> bool:
    """Is a parameter a number by its default, or by what a caller gives, which may be a parameter of it?"""
    if function is None:
        return False
    defaults = (d for d in ledger.defaults if d.name == name and d.owner == function.qualname)
    if any(constant(default.value) is not None for default in defaults):
        return True
    for use in calls_of(ledger, function):
        value = use.given.get(name)
        if value is None:
            continue
        known = scale_of(value)
        symbol = only_symbol(known) if known is not None else None
        handed = symbol.origin.partition("=")[0] if symbol is not None else ""
        if constant(value) is not None or (further and _is_shown(ledger, use.spot.function, handed, False)):
            return True
    return False


def _apart(guards: Guards) -> bool:
    """May a condition inside the innermost loop tell the keys of one factor from those of the other?"""
    loops = [index for index, (name, _) in enumerate(guards) if name.startswith(LOOP)]
    return any(_tells(*guard) for guard in guards[loops[-1] if loops else 0 :])


def _tells(name: str, holds: bool) -> bool:
    node = asked(name)
    if node is None:
        return False  # over `self` alone, too: it asks nothing of the key
    parts = list(ast.walk(node))
    literals = [
        part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    if isinstance(node, ast.Call) and ast.unparse(node).endswith(("torch.Tensor)", " Tensor)")):
        return False  # every entry is one
    found = {key_role(literal) for literal in literals}
    if found and holds and not found & {None, A, B}:
        return True  # `key.endswith((".diff", ".diff_b"))` is true of no factor
    if {A, B} <= set(map(_side, literals)):
        return not holds  # a key of either factor: `"lora_up" in key or "lora_down" in key`
    if literals:
        return any(map(_side, literals))
    return any(isinstance(part, ast.Attribute | ast.Call) for part in parts)


def _names_side(node: ast.AST) -> bool:
    """Is a key that of one factor: ``state[f"{name}.up"]``, ``state[key.replace("down", "up")]``?"""
    renamed = (part for part in ast.walk(node) if isinstance(part, ast.Call) and len(part.args) == 2)
    return len(_sides(node)) == 1 or any(len(_sides(*call.args)) == 2 for call in renamed)


def _sides(*nodes: ast.AST) -> set[str | None]:
    parts = (part.value for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant))
    return {_side(text) for text in parts if isinstance(text, str)} - {None}


def _side(text: str) -> str | None:
    return next((role for role in (key_role(f"x{text}x"), key_role(text)) if role in (A, B)), None)


def _speaks(spot: Spot) -> bool:
    """Is the code that stands there about LoRA?"""
    function = spot.function
    if function is None:
        return speaks_of_lora(spot.file.source)
    owner = "" if function.owner is None else function.owner.qualname
    return speaks_of_lora(f"{spot.file.text(function.node)} {function.qualname} {owner}")
