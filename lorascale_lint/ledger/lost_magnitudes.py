"""What becomes of the magnitude that a DoRA file has beside its factors, where code speaks of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import MAGNITUDE, key_role
from lorascale_lint.ledger.entries import KeyRead
from lorascale_lint.ledger.fates import Fate, every_fate, is_named
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Text
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True, eq=False)
class LostMagnitude:
    """The factors go on from ``spot``, and the magnitude under ``key`` of the file does not.

    ``missed`` is where it is looked up in vain, ``skipped`` where a loop passes it over, ``renamed`` the name
    under which it stands then, and ``pattern`` what a function that gives it this name goes by.
    """

    spot: Spot
    key: str
    missed: KeyRead | None
    skipped: Spot | None
    renamed: str
    pattern: Spot | None

    @property
    def steps(self) -> Iterator[tuple[Spot, str]]:
        """How it is lost."""
        if self.missed is not None:
            asked = self.missed.key.literal if isinstance(self.missed.key, Text) else None
            yield self.missed.spot, f"`{asked}` is looked up, where there is `{self.renamed or self.key}`"
        if self.pattern is not None:
            yield self.pattern, "what makes the one of the other"
        if self.skipped is not None:
            yield self.skipped, "here the magnitude is passed over"
        yield self.spot, f"the factors go on without `{self.key}`"

    @property
    def is_certain(self) -> bool:
        """Is it looked up by the name that it has in the file, but for what else is cut off?"""
        asked = self.missed.key.literal if self.missed and isinstance(self.missed.key, Text) else None
        return asked is not None and asked.rpartition(".")[2] in self.key.split(".")


def lost_magnitudes(ledger: Ledger) -> Iterator[LostMagnitude]:
    """One for each function that uses the factors of such a file, or gives them new names."""
    seen: set[object] = set()
    for fate in every_fate(ledger):
        key = fate.trial.sample.magnitude_key
        if not key:
            continue
        origin = f"adapter[{key}]"
        found = any(_is_found(fate, side) for side in (fate.down, fate.up))
        if not found or not is_named(fate) or _is_used(fate, origin):
            continue
        missed = _missed(fate, origin)
        spots = [a.spot for a in fate.applies if missed is not None or _names_magnitude(a.spot.function)]
        spots += [output.down.spot for output in fate.outputs if output.is_renamed]
        if spots and spots[0].node not in seen:
            seen.add(spots[0].node)
            name = _renamed(fate, origin)
            yield LostMagnitude(spots[0], key, missed, fate.skipped(key), name, _pattern(fate, name))


def _names_magnitude(function: FunctionInfo | None) -> bool:
    """Does the function that applies the factors name the key of a magnitude itself, in a test or a count?"""
    nodes = function.nodes if function is not None else []
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return any(key_role(text) == MAGNITUDE for text in texts)


def _is_found(fate: Fate, origin: str) -> bool:
    return any(read.how != "in" and origin in origins(read.value) for read in fate.ledger.reads) or any(
        origin in origins(write.value) for write in fate.ledger.writes
    )


def _is_used(fate: Fate, origin: str) -> bool:
    """Does the magnitude reach a table that goes on, a sum, a caller or code out of sight?"""
    ledger = fate.ledger
    values = [*fate.handed_on, *(w.value for w in ledger.writes if fate.goes_on(w.container))]
    values += [read.value for read in ledger.reads if key_role_of(read.key) == MAGNITUDE]
    return bool(ledger.rescales) or any(fate.holds(value, origin) for value in values)


def _missed(fate: Fate, origin: str) -> KeyRead | None:
    """Where a magnitude is looked up beside the factors and is not there."""
    for read in fate.ledger.reads:
        literal = read.key.literal if isinstance(read.key, Text) else None
        if literal and key_role_of(read.key) == MAGNITUDE and origin not in origins(read.value):
            return read
    return None


def _renamed(fate: Fate, origin: str) -> str:
    """The name that a table inside gives it."""
    for write in fate.ledger.writes:
        if origin in origins(write.value) and isinstance(write.key, Text) and write.key.literal:
            return write.key.literal
    return ""


def _pattern(fate: Fate, name: str) -> Spot | None:
    """The constant by which a function makes the name: a regular expression, a table."""
    for given in fate.ledger.returns:
        if not isinstance(given.value, Text) or given.value.literal != name or not given.spot.chain:
            continue
        function = given.spot.function
        read = function.names_read if function is not None else frozenset()
        for node in given.spot.file.tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id in read for target in node.targets
            ):
                return Spot(given.spot.file, None, None, node)
    return None
