"""Loaders: functions that look both factors up and give them to a setter, and what they know of alpha."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lorascale_lint.knowledge.conventions import STATES_ALPHA
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, STRENGTH, A, B, role_of
from lorascale_lint.ledger.alpha_mentions import (
    left_behind,
    looked_up,
    reachable,
    reads_files,
    spellings,
    texts,
)
from lorascale_lint.ledger.entries import KeyRead
from lorascale_lint.ledger.factor_setters import Setter
from lorascale_lint.ledger.families import Family, families
from lorascale_lint.ledger.handed_factors import Handed, handed_factors
from lorascale_lint.ledger.key_traffic import READS
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.values import Text

_RARE = "lora_alpha"
"""A key of files that a project writes for itself; kohya, ComfyUI and their kin write ``.alpha``."""
_BESIDE = ("adapter_config", "metadata")
"""Words of code that looks beside the tensors."""


@dataclass(frozen=True, eq=False)
class Loading:
    """One call by which a loader gives the factors of a layer to the setter of its class."""

    ledger: Ledger
    family: Family
    setter: Setter
    handed: Handed
    function: FunctionInfo

    @property
    def opened(self) -> Spot | None:
        """Where the loader opens the file."""
        return self.handed.opened

    @cached_property
    def spellings(self) -> set[str]:
        """How the loader spells alpha."""
        return spellings(self.ledger, self.function)

    @cached_property
    def left(self) -> KeyRead | None:
        """Where alpha is looked up for nothing."""
        return left_behind(self.ledger, self.function)

    @property
    def lacks_alpha(self) -> bool:
        """Does the class keep an alpha that this setter leaves as it was?"""
        alpha = self.family.field(ALPHA)
        if alpha is None:
            return False
        sets = any(kept.spot.function is self.setter.function for kept in alpha.kept)
        return self.setter.alpha_parameter is not None or (not sets and alpha.unset_by is not None)

    @property
    def drops_alpha(self) -> bool:
        """Does the loader read a file, and no alpha of it, or one that it leaves behind?"""
        known = not self.spellings and reads_files(self.ledger, self.function)
        return self.left is not None or known

    @property
    def bare(self) -> Spot | None:
        """Where a class that knows neither alpha nor scale applies the factors as they are."""
        family, setter = self.family, self.setter
        plain = [found for found in family.applications if found.kind != "unmerge"]
        roles = {role_of(name, True) for name in setter.function.parameters}
        knows = (
            bool(roles & {ALPHA, SCALING, MULTIPLIER, STRENGTH})
            or family.field(ALPHA) is not None
            or family.scaling is not None
        )
        if knows or not plain or any(b.scale != ONE for found in plain for b in found.branches):
            return None
        return plain[0].spot

    @property
    def alpha_read(self) -> KeyRead | None:
        """Where the loader looks alpha up."""
        return next(looked_up(self.ledger, self.function), None)

    @property
    def foreign(self) -> tuple[Spot, str] | None:
        """The text that shows that a loader which looks up ``*.lora_alpha`` takes other formats too."""
        if self.spellings != {_RARE} or not self._looks_up_rare:
            return None
        return next((found for found in texts([self.function]) if found[1].startswith(STATES_ALPHA)), None)

    @property
    def knows_tensors_only(self) -> bool:
        """Does the loader know several spellings of ``*.lora_alpha``, and nothing beside the tensors?"""
        words = [text for _, text in texts(reachable(self.ledger, self.function))]
        names = [function.file.text(function.node) for function in reachable(self.ledger, self.function)]
        beside = any(part in text for text in (*words, *names) for part in _BESIDE)
        return len(self.spellings) > 1 and self._looks_up_rare and not beside

    @property
    def _looks_up_rare(self) -> bool:
        reads = looked_up(self.ledger, self.function)
        parts = [r.key.parts for r in reads if isinstance(r.key, Text)]
        return any(len(p) > 1 and isinstance(p[-1], str) and p[-1] == f".{_RARE}" for p in parts)

    @property
    def steps(self) -> Iterator[tuple[Spot, str]]:
        """Where the file is opened and the factors are looked up, and what becomes of alpha."""
        if self.opened is not None:
            yield self.opened, "the adapter file is read here"
        for side in (A, B):
            for read in self.ledger.reads:
                own = read.spot.function is self.function and not read.spot.chain
                if own and read.how in READS and key_role_of(read.key) == side:
                    yield read.spot, f"factor {side} is looked up here"
                    break
        if self.left is not None:
            yield self.left.spot, "alpha is looked up, and nothing uses it"
            return
        spot = Spot(self.function.file, self.function, self.function.owner, self.function.node)
        yield spot, "nothing here reads `.alpha`, `.lora_alpha`, `adapter_config.json` or file metadata"


def loadings(ledger: Ledger) -> Iterator[Loading]:
    """Every call of a setter in a loader."""
    for family in families(ledger):
        for setter in family.setters:
            for handed in handed_factors(ledger, setter):
                if handed.use.spot.function is not None:
                    yield Loading(ledger, family, setter, handed, handed.use.spot.function)
