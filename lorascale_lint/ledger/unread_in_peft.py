"""Converters that write a file's alphas beside PEFT's factors, where nobody reads them."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ADAPTER_FILES, ADAPTER_TYPE, ALPHA_FIELD
from lorascale_lint.knowledge.roles import RANK
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.fates import Fate, fates
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import is_each_way
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import constant, literal_of
from lorascale_lint.provenance.scale import Scale


@immutable(frozen=True, slots=True, eq=False)
class UnreadInPeft:
    """``written`` is the ``lora_alpha`` of the settings; ``beside`` where the file's alpha is written."""

    written: KeyWrite
    beside: KeyWrite

    @property
    def message(self) -> str:
        """What is wrong."""
        return "`lora_alpha` is made up, and the alphas of the file go where PEFT never looks"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.beside.spot, "the alpha of the file is written among the tensors"),
            (self.written.spot, "readers of an adapter of PEFT take this one"),
        )


def unread_in_peft(ledger: Ledger) -> Iterator[UnreadInPeft]:
    """One for each entry of settings."""
    seen: set[object] = set()
    for fate in fates(ledger):
        for settled in _settled(fate) if not fate.is_rescaled else ():
            for output in fate.outputs:
                of_peft = literal_of(output.down.key).startswith(ADAPTER_FILES[1])
                own = fate.written[output.container] if of_peft else ()
                beside = next((write for write in own if fate.is_alpha(write.value)), None)
                if beside is not None and settled.spot.node not in seen:
                    seen.add(settled.spot.node)
                    yield UnreadInPeft(settled, beside)


def _settled(fate: Fate) -> Iterator[KeyWrite]:
    """Alphas of settings that are the rank, or a literal, whatever the file says."""
    writes = fate.ledger.writes
    settings = {write.container for write in writes if literal_of(write.key) == ADAPTER_TYPE}
    for write in writes:
        made_up = is_each_way(write.value, Scale.of(RANK)) or constant(write.value) is not None
        if made_up and write.container in settings and literal_of(write.key) == ALPHA_FIELD:
            yield write
