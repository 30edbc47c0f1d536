"""Numbers by which one function multiplies both factors of a pair, so that their product holds the square."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import TAKES_OUT_OF_THE_GRAPH
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, STRENGTH, A, B, key_role, role_of, words
from lorascale_lint.ledger.conditions import asked
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.marks import LOOP
from lorascale_lint.provenance.scale import ONE, Scale, Symbol
from lorascale_lint.provenance.values import Multiplied, Number, Tensor

RATIOS = (STRENGTH, MULTIPLIER, ALPHA)
_NOTHING_KNOWN = Scale.of("", "?")


@immutable(frozen=True, slots=True, eq=False)
class SquaredRatio:
    """``number`` is multiplied on at ``first`` and at ``last``, which is one place for whole files."""

    number: str
    first: Spot
    last: Spot
    whole_file: bool
    sure: bool = True
    """Is it no list of ratios, a number for each file, which may be meant as a rough average?"""


def squared_in_pairs(ledger: Ledger) -> Iterator[SquaredRatio]:
    """One for each two statements of one function: what a sum weighs there is wrong in one way."""
    by_function: dict[FunctionInfo | None, list[Multiplied]] = defaultdict(list)
    looks: dict[int, list[Multiplied]] = defaultdict(list)
    for step in ledger.multiplied:
        if isinstance(step.before, Tensor) and step.before.kind in (A, B):
            looks[id(step.spot.node)].append(step)
            if not step.spot.chain:
                by_function[step.spot.function].append(step)
    summed = {entry.spot.function for entry in ledger.factor_sums}
    known: dict[int, dict[tuple[str, ...], frozenset[Symbol]]] = {}  # each step meets all of the other side
    for function, steps in by_function.items():
        told: set[tuple[tuple[int, int], ...]] = set()
        sides: dict[str, list[Multiplied]] = {A: [], B: []}
        for step in steps:
            if not _averaged(steps, step):
                sides[step.before.kind].append(step)  # type: ignore[attr-defined]
        for one in sides[A]:
            for two in sides[B]:
                if ONE in (one.scale, two.scale) or _makes_up(one.scale * two.scale):
                    continue
                left, right = (
                    known.get(id(step)) or known.setdefault(id(step), _by_caller(step, looks))
                    for step in (one, two)
                )
                twice = _in_both(left, right)
                if not twice or contradict(_of_any_key(one), _of_any_key(two)):
                    continue
                first, last = sorted((one, two), key=lambda step: step.spot.row)
                statements = (first.spot.statement, last.spot.statement)
                if statements in told:
                    continue
                told.add(statements)
                same = one.scale == two.scale
                name = min(symbol.origin.removesuffix("[*]") for symbol in twice)
                sure = same or function not in summed
                yield SquaredRatio(text_of(last) if same else name, first.spot, last.spot, False, sure)


def _in_both(
    left: dict[tuple[str, ...], frozenset[Symbol]], right: dict[tuple[str, ...], frozenset[Symbol]]
) -> frozenset[Symbol]:
    """Numbers that both factors get, whoever calls: to each caller they have another origin."""
    found = [left[chain] & right[chain] for chain in left if chain in right]
    return frozenset.union(*found) if found and all(found) else frozenset()


def _by_caller(
    step: Multiplied, looks: dict[int, list[Multiplied]]
) -> dict[tuple[str, ...], frozenset[Symbol]]:
    """The ratios that the factor gets there in each look; what the step's own conditions rule out is none."""
    found: dict[tuple[str, ...], list[Multiplied]] = defaultdict(list)
    for other in (step, *looks[id(step.spot.node)]):
        if not contradict(step.guards, other.guards):
            found[other.spot.chain].append(other)
    return {chain: _ratios_in(steps) for chain, steps in found.items()}


def _of_any_key(step: Multiplied) -> Guards:
    """The conditions without those that tell the key of one factor from the other's: a loop comes to both.

    What was asked elsewhere, where a list was filled, tells one alternative of a value from another.
    """
    guards, function = step.guards, step.spot.function
    own = frozenset() if function is None else function.names_read
    loops = [index for index, (name, _) in enumerate(guards) if name.startswith(LOOP)]
    before = len(guards) if not loops else loops[-1]
    return (*guards[:before], *(atom for atom in guards[before:] if not _is_of_a_side(atom[0], own)))


def _is_of_a_side(name: str, own: frozenset[str]) -> bool:
    """Does a condition over these names ask a key whether it is that of A, or of B?"""
    node = asked(name)
    parts = [] if node is None else list(ast.walk(node))
    literals = [part.value for part in parts if isinstance(part, ast.Constant)]
    known = all(part.id in own for part in parts if isinstance(part, ast.Name))
    return known and any(isinstance(text, str) and key_role(text) in (A, B) for text in literals)


def _ratios_in(steps: list[Multiplied]) -> frozenset[Symbol]:
    """Numbers of a user, or alphas, by which something is multiplied once, whatever the look."""
    known = [
        {s for s, power in step.scale.powers if power == 1 and (s.role in RATIOS or _weighs(s, step))}
        for step in steps
        if step.scale.powers and step.scale != _NOTHING_KNOWN
    ]
    return frozenset(set.intersection(*known)) if known else frozenset()


def _weighs(symbol: Symbol, step: Multiplied) -> bool:
    """Is it the weight of an adapter, by its name? Only a number multiplies a factor and leaves it one.

    The name is that of its origin, or the one by which the code multiplies.
    """
    if symbol.role or not symbol.is_named or _is_trained(step):
        return False
    written = [] if step.number is None else [ast.unparse(n) for n in ast.walk(step.number) if _is_name(n)]
    return any(_says_weight(name) for name in (name_of(symbol), *written))


def _is_trained(step: Multiplied) -> bool:
    """Is the number taken out of the graph there? What a person chooses is in none."""
    inside = () if step.number is None else ast.walk(step.number)
    return any(isinstance(node, ast.Attribute) and node.attr in TAKES_OUT_OF_THE_GRAPH for node in inside)


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _says_weight(name: str) -> bool:
    last = name.rpartition(".")[2]
    return not {"weight", "weights"}.isdisjoint(words(last)[-1:]) or role_of(last, True) in RATIOS


def _makes_up(scale: Scale) -> bool:
    """Is a part of the product over another number of its role: the alpha of one adapter over another's?"""
    return any(power < 0 and symbol.role != RANK for symbol, power in scale.powers)


def _averaged(steps: list[Multiplied], step: Multiplied) -> bool:
    """Does another factor of that side get the rest of the number: ``a * ratio + b * (1 - ratio)``?"""
    own = {symbol.origin.partition("=")[0] for symbol, _ in step.scale.powers}
    kind = step.before.kind  # type: ignore[attr-defined]
    for other in steps:
        if getattr(other.before, "kind", "") == kind and isinstance(other.by, Number):
            known = (scale_of(term) for term in other.by.terms)
            names = {
                s.origin.partition("=")[0] for scale in known if scale is not None for s, _ in scale.powers
            }
            if not own.isdisjoint(names):
                return True
    return False


def name_of(symbol: Symbol) -> str:
    """The last name on the way to a number."""
    return symbol.origin.removesuffix("[*]").rpartition(".")[2]
