"""LS402: a module divides alpha by sqrt(rank), and saves the alpha that readers divide by the rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import WRITES_TENSORS, WRITES_TEXT
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.contracts import Contracts
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.states import saved_states
from lorascale_lint.ledger.surroundings import around
from lorascale_lint.ledger.unsaid_roots import unsaid_roots
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS, Scale
from lorascale_lint.provenance.values import Place, Text, options
from lorascale_lint.rule import Rule


class RsloraAlphaSavedRaw(Rule):
    """rsLoRA module that saves the raw alpha

    ## What it finds

    A class whose scale is alpha / sqrt(rank) when a flag of its constructor is on, and that registers
    the buffer (or parameter) `alpha` with the same value whether the flag is on or not. Also a
    configuration for PEFT that is written beside layers which all scale by alpha / sqrt(rank), with their
    alpha and without `use_rslora`.

    ## Why it is wrong

    The buffer goes into the file as `<module>.alpha`. A file of this format has no other word about
    the scale, so every reader divides it by the rank.

    ## Effect

    An adapter trained with the flag is read at 1 / sqrt(rank) of its strength: 11.31x too weak for
    rank=128.

    ## Bad

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(alpha))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Good

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(self.scale * lora_dim))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Fix safety

    Unsafe: a checkpoint to resume from may hold the raw alpha already. What is saved now, scale * rank,
    is alpha without the flag and alpha * sqrt(rank) with it; convert old files once.

    ## Limits

    Silent if the flag is saved too (a buffer, a metadata key), or comes from a configuration object,
    which may be saved beside the weights.

    ## References

    - LyCORIS stores alpha * sqrt(dim) for LoCon, LoHa and LoKr
    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    """

    code = "LS402"
    name = "rslora-alpha-saved-raw"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Classes with a scale that depends on the flag and a saved alpha that does not."""
        contracts = ledger.once(Contracts)
        written: set[tuple[str, int]] = set()
        for meeting in contracts.meetings:
            place = (meeting.spot.file.filename, meeting.spot.row)
            built = contracts.built_with(meeting, speaks_of_rslora) if meeting.rank is None else None
            if built is None or place in written or speaks_of_rslora(around(meeting.spot)):
                continue
            written.add(place)
            yield self.at(
                meeting.spot,
                "the raw alpha of a configuration that may say rsLoRA is saved",
                confidence="medium",
                effect=f"in every reader of the file: {effect_of(TRAINED, TRAINED_RS)}",
                trace=(
                    (built, "the adapter is made here, with the flag"),
                    (meeting.spot, "the file gets alpha itself, flag or no flag"),
                ),
            )
        for found in unsaid_roots(ledger):
            yield self.at(
                found.alpha,
                "the layers divide alpha by sqrt(rank), and their configuration does not say `use_rslora`",
                effect=f"in every reader of the file: {effect_of(TRAINED, TRAINED_RS)}",
                trace=(
                    (found.applied, "the scale is alpha / sqrt(rank)"),
                    (found.alpha, "readers divide this alpha by the rank"),
                ),
            )
        scaled: dict[object, Store] = {}
        for store in ledger.stores:
            if not store.spot.file.is_test and _depends_on_flag(store):
                scaled.setdefault(store.spot.cls, store)
        seen: set[object] = set()
        kept = _keepers(ledger, scaled) if scaled else set()
        for saved in saved_states(ledger):
            cls, scale = saved.spot.cls, scaled.get(saved.spot.cls)
            if scale is None or cls is None or cls in seen or saved.spot.chain:
                continue  # a caller may have switched the flag off
            if saved.field != ALPHA or not _is_raw(saved):
                continue
            seen.add(cls)
            if cls not in kept:
                from lorascale_lint.codemods.save_effective_alpha import save_effective_alpha

                yield self.at(
                    saved.spot,
                    f"`{cls.name}` scales by alpha / sqrt(rank) with rsLoRA and saves the raw alpha",
                    effect=f"in every reader of the file: {effect_of(TRAINED, TRAINED_RS)}",
                    trace=(
                        (scale.spot, "with the flag on, the scale is alpha / sqrt(rank)"),
                        (saved.spot, "the file gets alpha itself, flag or no flag"),
                    ),
                    fix=save_effective_alpha(ledger, scale, saved),
                )


def _depends_on_flag(store: Store) -> bool:
    """Is it alpha / sqrt(rank) under a flag that the constructor was given, and alpha / rank without?"""
    found = [(scale_of(option.value), option.guards) for option in options(store.value)]
    known = [(scale.by_role(), guards) for scale, guards in found if scale is not None]
    taken = set(store.spot.function.parameters) if store.spot.function is not None else set()
    asked = [atom.partition("@")[0] for scale, guards in known if scale == TRAINED_RS for atom, _ in guards]
    flags = [atom.removeprefix("self.").removeprefix("not ") for atom in asked if speaks_of_rslora(atom)]
    return TRAINED in dict(known) and any(
        flag in taken or (flag.isidentifier() and f"self.{flag}" in asked) for flag in flags
    )


def _is_raw(saved: Store) -> bool:
    """Is it alpha as it was given, or the rank that stands in for an alpha of None or 0?"""
    values = [option.value for option in options(saved.value)]
    scales = [scale_of(value) for value in values if not (isinstance(value, Place) and value.made)]
    plain = [scale.by_role() for scale in scales if scale is not None]
    return (
        len(plain) == len(values)
        and Scale.of(ALPHA) in plain
        and set(plain) <= {Scale.of(ALPHA), Scale.of(RANK)}
    )


def _keepers(ledger: Ledger, classes: Iterable[object]) -> set[object]:
    """Classes that keep the flag in their state, or write it; all of them if what saves files writes it."""
    kept: set[object] = {s.spot.cls for s in saved_states(ledger) if speaks_of_rslora(s.field)}
    saves = WRITES_TENSORS | WRITES_TEXT
    savers = {use.spot.function for use in ledger.uses if use.called in saves}
    for write in ledger.writes:
        if isinstance(write.key, Text) and speaks_of_rslora(write.key.literal or ""):
            kept.add(write.spot.cls)
            kept.update(classes if write.spot.function in savers else ())
    return kept
