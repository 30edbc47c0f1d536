"""Trainers that make layers with an alpha of their own and save factors without it."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from os.path import dirname
from typing import Literal

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    ALPHA_OF_EXPORTS,
    EXPORTER,
    FACTOR_GETTERS,
    LOADS_INTO_MODEL,
    SAVES_CONFIGURATION,
    SETTINGS_WORDS,
    WRITES_TENSORS,
    WRITES_TEXT,
)
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.strengths import given_strengths
from lorascale_lint.ledger.tables import Table, tables
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import ONE, STAND_IN, Scale, Symbol
from lorascale_lint.provenance.values import Hole, Place, Ref, Text, Value, options


@immutable(frozen=True, slots=True)
class UnsavedAlpha:
    """Layers that are made at ``scale``, and what saves their factors without it."""

    made: Use
    scale: Scale
    saved: Use
    confidence: Literal["high", "medium"]


def unsaved_alphas(ledger: Ledger) -> Iterator[UnsavedAlpha]:
    """One for each file, of what it saves last."""
    made = _made_layers(ledger)
    if not made:
        return
    held = tables(ledger)
    silent = _cares_for_alpha(ledger, held)
    factors = {t.container.key: t for t in held if isinstance(t.container, Ref) and _is_filtered(t)}
    savers: dict[str, dict[int, tuple[Use, Literal["high", "medium"]]]] = defaultdict(dict)
    told = _folders_with_told_merges(ledger)
    writes = WRITES_TEXT | SAVES_CONFIGURATION
    writes_settings = {u.spot.file.filename for u in ledger.uses if u.called in writes}
    loads = _last_loads(ledger)
    for use in ledger.uses:
        filename = use.spot.file.filename
        if filename not in made or filename in silent or use.callee is not None:
            continue
        if _is_export_without_alpha(use):
            savers[filename][use.spot.row] = (use, "high")
        elif filename in writes_settings or use.spot.row < loads[use.spot.function]:  # a check of its own
            continue
        elif dirname(filename) not in told and _saves_factors_only(use, factors):
            if _is_made_again(ledger, *made[filename]) or _is_read_beside(ledger, made[filename][0], use):
                continue
            savers[filename].setdefault(use.spot.row, (use, "medium"))
    for filename, found in savers.items():
        # hooks for checkpoints come first, what the training leaves behind comes last
        use, confidence = found[max(found)]
        yield UnsavedAlpha(*made[filename], use, confidence)


def _made_layers(ledger: Ledger) -> dict[str, tuple[Use, Scale]]:
    """By file: where layers or their configuration are made with an alpha that is not the rank."""
    found: dict[str, tuple[Use, Scale]] = {}
    layers = {member for family in families(ledger) for member in family.members}
    for use in ledger.uses:
        if use.spot.file.is_test or use.spot.file.filename in found:
            continue
        if not speaks_of_lora(use.called) and use.callee not in layers:
            continue
        given = {role_of(name, True): value for name, value in use.given.items() if not name.isdigit()}
        if ALPHA not in given or RANK not in given:
            continue
        scale = _quotient(given[ALPHA], given[RANK])
        if scale is not None and scale != ONE and not scale.unknowns():
            found[use.spot.file.filename] = (use, scale)
    return found


def _quotient(alpha: Value, rank: Value) -> Scale | None:
    """alpha / rank, if both are plain numbers that somebody chose."""
    above, below = scale_of(alpha), scale_of(rank)
    if above is None or below is None or not all(_is_setting(symbol) for symbol, _ in above.powers):
        return None
    inverse = below.inverse()
    if any(symbol.origin.startswith(STAND_IN) for symbol, _ in above.powers):
        return ONE
    return None if inverse is None else above * inverse


def _is_setting(symbol: Symbol) -> bool:
    """``args.lora_alpha``, ``cfg["alpha"]``: neither the argument of a layer nor read from an adapter."""
    head, bracket, _ = symbol.origin.partition("[")
    if bracket and not SETTINGS_WORDS.isdisjoint(words(head)[-1:]):
        return True
    owner = symbol.origin.rpartition(".")[0]
    return owner not in ("", "self") and "[" not in symbol.origin and "file(" not in symbol.origin


def _cares_for_alpha(ledger: Ledger, held: list[Table]) -> set[str]:
    """Files that write an alpha, fold it into a factor, or give alpha / rank as a strength."""
    found = {w.spot.file.filename for table in held for w in table.by_role(ALPHA) if _leaves(table, w)}
    found |= {
        fold.spot.file.filename for fold in ledger.folds if any(s.role == ALPHA for s, _ in fold.scale.powers)
    }
    for given in given_strengths(ledger):
        scale = scale_of(given.value)
        if scale is not None and {ALPHA, RANK} <= {symbol.role for symbol, _ in scale.powers}:
            found.add(given.use.spot.file.filename)
    return found


def _leaves(table: Table, write: KeyWrite) -> bool:
    """Is the entry one of a file, and no argument that is kept in a dictionary for a while?"""
    literal = write.key.literal if isinstance(write.key, Text) else None
    if literal is None or not literal.isidentifier() or not isinstance(table.container, Ref):
        return True
    return table.goes_to(WRITES_TEXT | WRITES_TENSORS)


def _is_export_without_alpha(use: Use) -> bool:
    """``save_lora_weights`` of a library, without a word of alpha."""
    endings = ALPHA_OF_EXPORTS.get(use.called)
    node = use.spot.node
    if endings is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if EXPORTER not in use.spot.file.libraries:
        return False
    names = [keyword.arg for keyword in node.keywords]
    return None not in names and not any(name and name.endswith(endings) for name in names)


def _last_loads(ledger: Ledger) -> Counter[FunctionInfo | None]:
    """The last row in which a function loads tensors into a model, with an alpha of its own."""
    found: Counter[FunctionInfo | None] = Counter()
    for use in ledger.uses:
        if use.called in LOADS_INTO_MODEL:
            found[use.spot.function] = max(found[use.spot.function], use.spot.row)
    return found


def _is_made_again(ledger: Ledger, made: Use, scale: Scale) -> bool:
    """Does another file make such layers at that scale, and put tensors into a model?"""
    for use in ledger.uses:
        filename = use.spot.file.filename
        if use.called != made.called or use.callee is not made.callee or use.spot.file.is_test:
            continue
        if filename == made.spot.file.filename or filename not in ledger.once(_loading):
            continue
        given = {role_of(name, True): value for name, value in use.given.items() if not name.isdigit()}
        if ALPHA in given and RANK in given:
            again = _quotient(given[ALPHA], given[RANK])
            if again is None or again.by_role() == scale.by_role():
                return True
    return False


def _is_read_beside(ledger: Ledger, made: Use, saved: Use) -> bool:
    """Does another function of the file load such a file into layers that it does not make?"""
    apart = (made.spot.function, saved.spot.function)
    for look in looks(ledger, callees=True):
        function = look.function
        if function is None or function in apart or function.file is not saved.spot.file:
            continue
        opens = any(isinstance(u.result, Place) and u.result.made == "state dict" for u in look.uses)
        makes = any(u.called == made.called and u.callee is made.callee for u in look.uses)
        if opens and not makes and any(use.called in LOADS_INTO_MODEL for use in look.uses):
            return True
    return False


def _loading(ledger: Ledger) -> set[str]:
    """Files that put tensors into a model."""
    return {use.spot.file.filename for use in ledger.uses if use.called in LOADS_INTO_MODEL}


def _folders_with_told_merges(ledger: Ledger) -> set[str]:
    """Folders with a merge of looked-up factors that its caller tells alpha and rank."""
    found = set()
    for apply in ledger.applies:
        function = apply.spot.function
        given = set(function.parameters) if function is not None else set()
        parts = {symbol.role for symbol, _ in apply.scale.powers if symbol.origin in given}
        if apply.kind == "merge" and apply.factors.endswith("]") and {ALPHA, RANK} <= parts:
            found.add(dirname(apply.spot.file.filename))
    return found


def _saves_factors_only(use: Use, factors: dict[int, Table]) -> bool:
    if use.called not in WRITES_TENSORS or "metadata" in use.given:
        return False
    first = use.given.get("0", use.given.get("tensors", use.given.get("obj")))
    for option in options(first) if first is not None else ():
        if isinstance(option.value, Ref) and option.value.key in factors:
            return True
        if isinstance(option.value, Place) and option.value.path.removesuffix("()") in FACTOR_GETTERS:
            return True
    return False


def _is_filtered(table: Table) -> bool:
    """Is every key of the table known to be one of LoRA, by a test?"""
    return all(
        isinstance(write.key, Text)
        and any(isinstance(p, Hole) and any(map(speaks_of_lora, p.has)) for p in write.key.parts)
        for write in table.writes
    )
