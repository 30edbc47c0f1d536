"""What became of a file's tensors in a trial: where the factors went, and whether their alpha went on too."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import WRITES_TENSORS
from lorascale_lint.knowledge.operations import OPERATIONS
from lorascale_lint.knowledge.roles import (
    ALPHA,
    DROPOUT,
    MULTIPLIER,
    SCALING,
    STRENGTH,
    A,
    B,
    role_of,
)
from lorascale_lint.ledger.conditions import is_set
from lorascale_lint.ledger.entries import Apply, KeyWrite, Norm, Store, Trial, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.origins import root_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_plain_factor, key_role_of, literal_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.provenance.values import Ref, Tensor, Text, Tup, Value, options
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True)
class Output:
    """A dictionary that leaves the function, or is the caller's, with both factors in it."""

    container: Value
    down: KeyWrite
    up: KeyWrite

    @property
    def told(self) -> str:
        """What the function does with the factors."""
        return "gives both factors new names" if self.is_renamed else "saves both factors of a file"

    @property
    def is_renamed(self) -> bool:
        """Are the factors there under other keys than in the file?"""
        return any(
            f"adapter[{literal_of(write.key)}]" not in origins(write.value) for write in (self.down, self.up)
        )


class Fate:
    """Answers about one trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.ledger = trial.ledger
        self.alpha = f"adapter[{trial.sample.alpha_key}]"
        self.down = f"adapter[{trial.sample.down}]"
        self.up = f"adapter[{trial.sample.up}]"

    @cached_property
    def ran(self) -> list[FunctionInfo | None]:
        """The functions that ran; None for a top level."""
        spots = [
            self.trial.spot,
            *(use.spot for use in self.ledger.uses),
            *(r.spot for r in self.ledger.reads),
        ]
        found = dict.fromkeys(spot.function for spot in spots)
        found.update((use.callee, None) for use in self.ledger.uses if isinstance(use.callee, FunctionInfo))
        return list(found)

    @cached_property
    def handed(self) -> set[tuple[FunctionInfo | None, str | None]]:
        """The functions of the project that get the factors, and the parameter that holds them."""
        wanted = {self.down, self.up}
        found = {
            (use.callee, name)
            for use in self.ledger.uses
            if isinstance(use.callee, FunctionInfo)
            for name, value in use.given.items()
            if wanted & set(self._held(value, set()))
        }
        return {(self.trial.function, self.trial.parameter), *found}

    @cached_property
    def written(self) -> Mapping[Value, list[KeyWrite]]:
        """What was written, by the dictionary that it was written into."""
        found: dict[Value, list[KeyWrite]] = defaultdict(list)
        for write in self.ledger.writes:
            found[write.container].append(write)
        return dict(found)

    @cached_property
    def outputs(self) -> list[Output]:
        """Dictionaries with both factors as they were in the file, which go on."""
        return [t for t in self.all_tables if self.goes_on(t.container) or self._is_spread(t)]

    def is_made_new(self, output: Output) -> bool:
        """Do the factors get other names, or are they picked out of the file and saved as they are?"""
        saves = (use for use in self.ledger.uses if use.called in WRITES_TENSORS)
        return output.is_renamed or any(output.container in use.given.values() for use in saves)

    def _is_spread(self, table: Output) -> bool:
        """Is code out of sight given the factors by their keys: ``savez(path, **table)``?"""
        down, up = literal_of(table.down.key), literal_of(table.up.key)
        return any(down in use.given and up in use.given for use in self.ledger.uses if _is_unseen(use))

    @cached_property
    def all_tables(self) -> list[Output]:
        """Dictionaries with both factors as they were in the file."""
        found = []
        for container, own in self.written.items():
            downs = [write for write in own if _is_plain(write, self.down)]
            ups = [write for write in own if _is_plain(write, self.up)]
            if downs and ups:
                found.append(Output(container, downs[0], ups[0]))
        return found

    @cached_property
    def applies(self) -> list[Apply]:
        """Where the factors meet a base weight or its output."""
        wanted = (self.down, self.up)
        return [apply for apply in self.ledger.applies if apply.factors in wanted]

    @cached_property
    def measured(self) -> list[Norm]:
        """Norms of the factors' product by which the file's own factors are then scaled."""
        clamps = any(map(_is_scaled, self.written.get(self.trial.given, ())))
        return [norm for norm in self.ledger.norms if clamps and norm.of == "delta" and norm.rows]

    @cached_property
    def tables(self) -> list[Output]:
        """Dictionaries with both factors under other keys, whether they go on or not."""
        return [table for table in self.all_tables if table.is_renamed]

    @property
    def looked_up(self) -> Iterator[tuple[str, Spot, str]]:
        """Where the factors are taken out of the file, and under which key."""
        for side, origin, key in ((A, self.down, self.trial.sample.down), (B, self.up, self.trial.sample.up)):
            for read in self.ledger.reads:
                if read.how != "in" and origin in origins(read.value):
                    yield side, read.spot, key
                    break

    def states_alpha(self, output: Output) -> bool:
        """Is any alpha, or scale, written beside the factors?"""
        return any(key_role_of(write.key) in (ALPHA, SCALING) for write in self.written[output.container])

    def needs_caller(self, output: Output) -> str | None:
        """The argument whose value is the one alpha that is written beside the factors, if it is not None."""
        function = self.trial.function
        own = self.written[output.container]
        alphas = [write for write in own if key_role_of(write.key) in (ALPHA, SCALING)]
        names = {
            name
            for name in (() if function is None else function.parameters)
            for write in alphas
            if set(origins(write.value)) == {name} and is_set(name, write.guards)
        }
        return names.pop() if len(names) == len(alphas) == 1 else None

    def is_alpha(self, value: Value) -> bool:
        """Is the value the alpha of the file?"""
        return self.alpha in origins(value)

    def reads_file_at(self, node: ast.AST) -> bool:
        """Is what is looked up at ``node`` looked up in the file as it is, if its tensors come there?"""
        found = [read for read in self.ledger.reads if read.spot.node is node]
        ours = [read for read in found if {self.down, self.up} & set(origins(read.value))]
        return all(read.container == self.trial.given for read in ours)

    def drops_alpha(self, place: Apply | Norm) -> bool:
        """Is the product there used without alpha, which nothing else in the trial uses either?"""
        if isinstance(place, Norm):
            return not any(self.alpha in origins(r.value) for r in self.ledger.reads if r.how != "del")
        unused = not self.alpha_goes_on and not self.alpha_of_settings_goes_on and not self.is_rescaled
        return unused and not self.holds_scale and is_bare(place)

    @cached_property
    def holds_scale(self) -> bool:
        """Is a scale looked up beside the factors, by a plain name: a table of one layer, and no file?"""
        return any(
            read.container == self.trial.given
            and role_of(literal_of(read.key), True) in (SCALING, MULTIPLIER)
            for read in self.ledger.reads
        )

    def skipped(self, key: str) -> Spot | None:
        """Where a round of a loop over the file ends without a use of the entry under ``key``."""
        for skip in self.ledger.skips:
            parts = skip.item.items if isinstance(skip.item, Tup) else (skip.item,)
            if parts and isinstance(parts[0], Text) and parts[0].literal == key:
                return skip.spot
        return None

    @cached_property
    def alpha_goes_on(self) -> bool:
        """Does alpha reach a sum, a factor, a caller, a file, an object or a decision?"""
        ledger = self.ledger
        scales = [apply.scale for apply in ledger.applies] + [fold.scale for fold in ledger.folds]
        if any(symbol.origin == self.alpha for scale in scales for symbol, _ in scale.powers):
            return True
        if any(map(self._in, self.handed_on)):
            return True
        if any(
            self._in(ask.value) or (ask.other and self._in(ask.other))
            for ask in ledger.asks
            if ask.how != "none"
        ):
            return True
        return any(self._in(w.value) and self.goes_on(w.container) for w in ledger.writes) or self._stays

    @cached_property
    def alpha_of_settings_goes_on(self) -> bool:
        """Does any alpha or trained scale, of the file or from beside it, reach more than a message?"""
        ledger = self.ledger
        scales = [a.scale for a in ledger.applies if not _is_of_caller(a)] + [f.scale for f in ledger.folds]
        values = [*self.handed_on, *(write.value for write in ledger.writes if self.goes_on(write.container))]
        values += [side for q in ledger.quotients for side in (q.value, q.by)]
        for ask in ledger.asks:
            values += [] if ask.how == "none" else [ask.value, *([] if ask.other is None else [ask.other])]
        scales += [
            scale for value in values for o in options(value) if (scale := scale_of(o.value)) is not None
        ]
        return any(symbol.role in (ALPHA, SCALING) for scale in scales for symbol, _ in scale.powers)

    @cached_property
    def is_rescaled(self) -> bool:
        """Is a factor multiplied by something on its way, so that the scale may be in it?"""
        folded = any(not _is_chosen(s) for fold in self.ledger.folds for s, _ in fold.scale.powers)
        return folded or any(map(_is_scaled, self.ledger.writes))

    @cached_property
    def _stays(self) -> bool:
        """Is alpha still in the dictionary that the caller gave, beside the factors?"""
        given = self.trial.given
        return bool(self.trial.parameter) and self._in(given) and given in self.written

    @cached_property
    def handed_on(self) -> tuple[Value, ...]:
        """What is returned, stored, or given to code out of sight."""
        kept = (store.value for store in self.ledger.stores if not self._is_put_down(store))
        return (*self._given_away, *kept)

    @property
    def _given_away(self) -> tuple[Value, ...]:
        ledger = self.ledger
        return (
            *(entry.value for entry in ledger.returns if not entry.spot.chain),
            *(value for use in ledger.uses if _is_unseen(use) for value in (*use.given.values(), use.rest)),
        )

    def _is_put_down(self, store: Store) -> bool:
        """Is it put into a record that the code itself makes, for a while?"""
        made = (owner.value for owner in options(store.owner))
        return all(
            isinstance(owner, Ref) and is_record(owner) and owner.key not in self._leaving for owner in made
        )

    @cached_property
    def _leaving(self) -> set[int]:
        """Dictionaries and lists that are returned, stored, given to code out of sight, or the caller's."""
        written = (write.value for write in self.ledger.writes if not isinstance(write.container, Ref))
        values = [*self._given_away, *written]
        stored: dict[int, list[Value]] = defaultdict(list)
        for store in self.ledger.stores:
            for owner in options(store.owner):
                if isinstance(owner.value, Ref) and is_record(owner.value):
                    stored[owner.value.key].append(store.value)
                else:
                    values.append(store.value)
        found: set[int] = (
            {self.trial.given.key} if self.trial.parameter and isinstance(self.trial.given, Ref) else set()
        )
        pending = [ref for value in values for ref in self._refs(value)]
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                inside = [*(value for _, value in self.trial.held.get(key, ())), *stored.get(key, ())]
                pending += [ref for value in inside for ref in self._refs(value)]
        return found

    def goes_on(self, container: Value) -> bool:
        """Is what is written into ``container`` seen by others?"""
        if not isinstance(container, Ref):
            return True
        return container.key in self._leaving or container.kind == "object" or container.key < self._first

    @property
    def _first(self) -> int:
        """The first key on the heap that the trial made; older ones belong to objects of the project."""
        return self.trial.given.key if isinstance(self.trial.given, Ref) else 0

    def _refs(self, value: Value) -> Iterator[int]:
        for option in options(value):
            match option.value:
                case Ref(key=key):
                    yield key
                case Tup(items=items):
                    for item in items:
                        yield from self._refs(item)

    def _in(self, value: Value) -> bool:
        return self.holds(value, self.alpha)

    def holds(self, value: Value, origin: str) -> bool:
        """Is what came from there in ``value``, or in what it holds?"""
        return origin in self._held(value, set())

    def _held(self, value: Value, seen: set[int]) -> Iterator[str]:
        yield from origins(value)
        for key in self._refs(value):
            if key not in seen:
                seen.add(key)
                for _, item in self.trial.held.get(key, ()):
                    yield from self._held(item, seen)


def is_record(owner: Ref) -> bool:
    """Is it an object of no class of the project, or of one without methods, that does nothing by itself?"""
    return owner.kind == "object" and (owner.cls is None or not owner.cls.methods)


def fates(ledger: Ledger) -> list[Fate]:
    """One for each trial of a usual file that came to its end, tests aside."""
    return ledger.once(_usual_fates)


def _usual_fates(ledger: Ledger) -> list[Fate]:
    return [fate for fate in every_fate(ledger) if not fate.trial.sample.is_rare]


def every_fate(ledger: Ledger) -> list[Fate]:
    """Those of files with a magnitude, or with dots in names that are flat elsewhere, too."""
    return ledger.once(_every_fate)


def _every_fate(ledger: Ledger) -> list[Fate]:
    return [Fate(trial) for trial in ledger.trials if trial.whole and not trial.spot.file.is_test]


def is_named(fate: Fate) -> bool:
    """Does the code name the convention of the file that it was tried on?"""
    return fate.trial.sample.is_named_in(fate.trial.spot.file.source)


def is_bare(apply: Apply) -> bool:
    """Is the product multiplied by what people choose at most?"""
    parameters = () if apply.spot.function is None else apply.spot.function.parameters
    return all(_is_chosen(symbol, parameters) for symbol, _ in apply.scale.powers)


def _is_chosen(symbol: Symbol, parameters: Collection[str] = ()) -> bool:
    """Does a person choose the number: a strength, or an argument that no tensor's name leads to?"""
    argument = not symbol.role and symbol.origin.partition("[")[0] in parameters
    plain = argument and not any(sign in symbol.origin for sign in ".{(*")
    return plain or symbol.role in (STRENGTH, MULTIPLIER, DROPOUT)


def _is_of_caller(apply: Apply) -> bool:
    """Are the factors an argument of the function, which is run here for itself?"""
    function = apply.spot.function
    return function is not None and not apply.spot.chain and root_of(apply.factors) in function.parameters


def may_hold_scale(place: Apply | Norm) -> bool:
    """May a number that a caller out of sight gives be alpha / rank of the whole adapter?"""
    return isinstance(place, Apply) and any(s.role not in (STRENGTH, DROPOUT) for s, _ in place.scale.powers)


def _is_scaled(write: KeyWrite) -> bool:
    return any(
        isinstance(o.value, Tensor) and o.value.kind in (A, B) and bool(o.value.scale.powers)
        for o in options(write.value)
    )


def _is_plain(write: KeyWrite, origin: str) -> bool:
    return origin in origins(write.value) and is_plain_factor(write.value)


def _is_unseen(use: Use) -> bool:
    """Is the callee out of sight, and more than a conversion or a message?"""
    return use.callee is None and OPERATIONS.get(use.called) is None
