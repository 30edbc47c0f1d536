"""Keys of alpha that are made from those of factors and fit one spelling; alphas that a renaming loses."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.conventions import ALPHA_SUFFIXES, WEIGHT
from lorascale_lint.knowledge.roles import ALPHA, key_role
from lorascale_lint.ledger.entries import KeyRead, KeyWrite
from lorascale_lint.ledger.fates import Fate, Output, fates
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Text, Value
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True)
class Misfit:
    """A look-up of alpha that finds it beside ``fitting`` and never beside ``missed``.

    ``cut`` is the slice that cuts the key off, ``with_dot`` if the dot before the suffix goes too.
    """

    read: KeyRead
    fitting: str
    missed: str
    cut: Spot | None
    with_dot: bool


def misfits(ledger: Ledger) -> Iterator[Misfit]:
    """Look-ups that say nothing when they miss, where both spellings come to them.

    An alpha that is looked up beside the name which a renaming gave to its factors is cut right.
    """
    found: dict[ast.AST, dict[str, list[tuple[bool, KeyRead]]]] = defaultdict(lambda: defaultdict(list))
    for fate in fates(ledger):
        sample = fate.trial.sample
        if not sample.module:
            continue  # nothing is cut off from `lora_A.weight`
        renamed = {shown(write.key) for write in fate.ledger.writes if fate.is_alpha(write.value)}
        kept = {sample.alpha_key, *renamed}
        modules = {sample.module, *(_module(shown(t.down.key), shown(t.up.key)) for t in fate.all_tables)}
        fitting = {key for module in modules if module for key in _alphas_of(module)}
        mixed = {read.spot.node for read in fate.ledger.reads if not shown(read.key).endswith("alpha")}
        for read in fate.ledger.reads:
            key = read.key.literal if isinstance(read.key, Text) else None
            if key is None or read.how not in ("get", "pop", "in") or not key.endswith("alpha"):
                continue
            well_formed = key in kept or key in fitting
            whole = key in ALPHA_SUFFIXES  # the part of one module: nothing was cut
            any_key = isinstance(read.container, Text) or read.spot.node in mixed  # not alpha's alone
            if whole or any_key or (well_formed and key not in kept):
                continue
            found[read.spot.node][sample.pair.down].append((well_formed, read))
    for by_suffix in found.values():
        fits = [suffix for suffix, reads in by_suffix.items() if any(hit for hit, _ in reads)]
        misses = [suffix for suffix in by_suffix if suffix not in fits]
        if fits and misses:
            read = by_suffix[misses[0]][0][1]
            yield Misfit(read, fits[0], misses[0], *_cut(read))


def _cut(read: KeyRead) -> tuple[Spot | None, bool]:
    """The slice in the key's expression or in what binds a name of it, and whether a dot follows."""
    expression = key_expression(read.spot.node)
    function = read.spot.function
    if expression is None or function is None:
        return None, False
    expressions = [expression]
    for name in [node for node in ast.walk(expression) if isinstance(node, ast.Name)]:
        value = last_binding(function, name.id, read.spot.row)
        expressions += [] if value is None else [value]
    texts = [
        node.value
        for part in expressions
        for node in ast.walk(part)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("alpha")
    ]
    for part in expressions:
        for node in ast.walk(part):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                return replace(read.spot, node=node), any(text.startswith(".") for text in texts)
    return None, False


def key_expression(node: ast.AST) -> ast.expr | None:
    """The key in ``table[key]``, ``table.get(key)`` or ``key in table``."""
    match node:
        case ast.Subscript(slice=key):
            return key
        case ast.Call(args=[key, *_]):
            return key
        case ast.Compare(left=key):
            return key
        case _:
            return None


def last_binding(function: FunctionInfo, name: str, before: int) -> ast.expr | None:
    """What the nearest statement above a row binds a local to."""
    bindings = [
        (node.lineno, node.value)
        for node in ast.walk(function.node)
        if isinstance(node, ast.Assign)
        and node.lineno < before
        and any(_binds(target, name) for target in node.targets)
    ]
    return max(bindings, key=lambda binding: binding[0])[1] if bindings else None


def _binds(target: ast.expr, name: str) -> bool:
    """Is ``name`` the target, or the first of a row?"""
    first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target
    return isinstance(first, ast.Name) and first.id == name


@immutable(frozen=True, slots=True)
class Renamed:
    """The alpha of a file written beside its factors, whose keys have the same ``module`` there."""

    fate: Fate
    table: Output
    alpha: KeyWrite
    module: str
    key: str

    @property
    def told(self) -> str:
        """What the renaming does to the key of alpha."""
        if self.got_an_ending:
            return f"puts `{WEIGHT}` behind the key of alpha, too"
        return "restores the dots of the factors' keys and not those of alpha"

    @property
    def lost_its_dot(self) -> bool:
        """Is the dot before ``alpha`` another sign now, where those of the factors are dots?"""
        down, up = shown(self.table.down.key), shown(self.table.up.key)
        flat = f"{self.module}_{self.fate.trial.sample.alpha}"
        endings = [key.removeprefix(self.module) for key in (down, up)]
        return down != up and self.key in (flat, *(flat + ending for ending in endings))

    @property
    def got_an_ending(self) -> bool:
        """Is ``.weight`` put behind it, which the factors' keys had of their own, and nobody reads it so?"""
        longer = f"{self.module}.{self.fate.trial.sample.alpha}{WEIGHT}"
        known = f"{self.fate.trial.sample.alpha}{WEIGHT}" in self.alpha.spot.file.source
        return self.key == longer and not known

    def came_without_its_dot(self, others: Iterable[Renamed]) -> bool:
        """Had another function lost it before? What this one loses by itself is seen where it is tried."""
        writes = self.fate.ledger.writes
        own = writes.index(self.alpha)
        return any(
            other.fate is self.fate
            and other.alpha.spot.function is not self.alpha.spot.function
            and other.lost_its_dot
            and writes.index(other.alpha) < own
            for other in others
        )

    @property
    def left_unmapped(self) -> bool:
        """Did the factors' module get another name, and alpha's not?"""
        sample = self.fate.trial.sample
        module, key = sample.module, self.table.down.key
        known = isinstance(key, Text) and any(isinstance(part, str) for part in key.parts)
        sure = set(origins(self.table.down.value)) == {self.fate.down}  # and no entry among all of them
        other = getattr(key, "literal", None) != sample.down and self.module != module
        renamed = known and sure and other
        return renamed and self.key in _alphas_of(module) and not self.renamed_too

    @property
    def renamed_too(self) -> bool:
        """Is alpha written under the factors' new name as well, on another way?"""
        writes = self.fate.written[self.table.container]
        keys = {shown(w.key) for w in writes if self.fate.is_alpha(w.value)}
        return not keys.isdisjoint(_alphas_of(self.module))

    @property
    def keeps_suffixes(self) -> bool:
        """Does the renaming leave what stands behind the module as it was?"""
        sample = self.fate.trial.sample
        keys = (shown(self.table.down.key), shown(self.table.up.key))
        return keys == (f"{self.module}.{sample.pair.down}", f"{self.module}.{sample.pair.up}")

    @property
    def own_alphas(self) -> list[KeyWrite]:
        """Other alphas that are written there, under keys that a reader knows."""
        writes = self.fate.written[self.table.container]
        return [
            w
            for w in writes
            if w is not self.alpha and _is_alpha_key(shown(w.key)) and not self.fate.is_alpha(w.value)
        ]


@immutable(frozen=True, slots=True)
class Unmapped:
    """An alpha whose key is mapped without the suffix that the patterns of the mapping need."""

    alpha: KeyWrite
    spot: Spot
    key: str
    module: str
    keeps_suffixes: bool
    shows: Spot


def unmapped_alphas(ledger: Ledger) -> Iterator[Unmapped]:
    """Alphas that keep a name which the mapping changes: seen to, or by what the mapping is given."""
    for renamed in renamed_alphas(ledger):
        if renamed.left_unmapped:
            where, shows = renamed.alpha.spot, renamed.table.down.spot
            yield Unmapped(renamed.alpha, where, renamed.key, renamed.module, renamed.keeps_suffixes, shows)
    if len(ledger.patterns) < 2:
        return
    for trial in ledger.trials:
        sample = trial.sample
        factors = {sample.down, sample.up, *(key.removesuffix(".weight") for key in (sample.down, sample.up))}
        given = [
            (use, plain.literal) for use in trial.ledger.uses if isinstance(plain := use.given.get("0"), Text)
        ]
        whole = {use.name for use, key in given if key in factors}
        bare = [use for use, key in given if key == sample.module and use.name in whole]
        for write in trial.ledger.writes:
            key = shown(write.key)
            mapped = key.startswith("?") and _is_alpha_key(key) and key_role(key) == ALPHA
            if bare and mapped and f"adapter[{sample.alpha_key}]" in origins(write.value):
                keeps = all(pattern.keeps_end for pattern in ledger.patterns)
                yield Unmapped(write, bare[-1].spot, key, "", keeps, ledger.patterns[0].spot)


def _alphas_of(module: str) -> set[str]:
    return {f"{module}.{suffix}" for suffix in ALPHA_SUFFIXES}


def _is_alpha_key(key: str) -> bool:
    return key_role(key) == ALPHA and any(key.endswith(f".{suffix}") for suffix in ALPHA_SUFFIXES)


def renamed_alphas(ledger: Ledger) -> Iterator[Renamed]:
    """Every alpha that is written into a dictionary with both factors."""
    for fate in fates(ledger):
        for table in fate.all_tables:
            module = _module(shown(table.down.key), shown(table.up.key))
            for write in fate.written[table.container] if module else ():
                if fate.is_alpha(write.value):
                    yield Renamed(fate, table, write, module, shown(write.key))


def shown(key: Value) -> str:
    """A key with a sign for each piece that is not known."""
    return (
        "".join(part if isinstance(part, str) else "?" for part in key.parts) if isinstance(key, Text) else ""
    )


def _module(down: str, up: str) -> str:
    """What both keys begin with, in whole parts; the key itself where both are the same."""
    if down == up:
        return down
    shared = []
    for one, two in zip(down.split("."), up.split("."), strict=False):
        if one != two:
            break
        shared.append(one)
    module = ".".join(shared)
    return module if module and down.startswith(f"{module}.") and up.startswith(f"{module}.") else ""
