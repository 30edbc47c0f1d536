"""LS207: a missing alpha defaults to a constant, and is then divided by the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.entries import Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.records import is_start
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.stand_ins import (
    StandIn,
    asked_afterwards,
    default_stand_ins,
    divided_stand_ins,
    never_missing,
    settled_for_files,
    written_stand_ins,
)
from lorascale_lint.rule import Rule


class ConstantDefaultAlpha(Rule):
    """Missing alpha defaults to a constant instead of the layer's rank

    ## What it finds

    A lookup of a layer's alpha in an adapter file whose default is a literal number, `sd.get(name +
    ".alpha", 1.0)`, where the result is then divided by the rank. The same for an optional alpha of a
    function that is given the factors, and for a number that is written as the alpha of modules without one.

    ## Why it is wrong

    Files without alpha (PEFT and diffusers spell their keys so) hold factors that apply as they are: alpha
    is the layer's own rank, and the scale 1. A constant makes the scale constant / rank. A later
    `if alpha is None: alpha = rank` looks like the cure and can never run.

    ## Effect

    Effective scale 1 / rank instead of 1 for files without alpha: 128x too weak for rank=128.

    ## Bad

    ```python
    def merge_lora(weight, state_dict, name):
        down = state_dict[name + ".lora_down.weight"]
        up = state_dict[name + ".lora_up.weight"]
        alpha = state_dict.get(name + ".alpha", 1.0)
        scale = alpha / down.shape[0]
        return weight + scale * (up @ down)
    ```

    ## Good

    ```python
    def merge_lora(weight, state_dict, name):
        down = state_dict[name + ".lora_down.weight"]
        up = state_dict[name + ".lora_up.weight"]
        alpha = state_dict.get(name + ".alpha", down.shape[0])
        scale = alpha / down.shape[0]
        return weight + scale * (up @ down)
    ```

    ## Fix safety

    Unsafe: files without alpha change. The default becomes the rank as the function spells it, or `None`
    where a fallback to the rank follows. No fix where the rank is not known before the lookup.

    ## Limits

    Only keys that are computed for a module count: one alpha of a whole file, such as `lora_alpha` of a
    PEFT configuration, has the default of its format. Silent if the division happens only where alpha is
    present, or if the same file writes the missing alphas first, and where the rank has a default of its
    own: these are settings of new layers, as PEFT's `rank_pattern` and `alpha_pattern`. A default that
    comes from an option above 1, a field or a parameter is reported with `--preview`: whoever runs the
    program may know the alpha. So is one that is taken for every file, whatever that states.

    ## References

    - aredden/flux-fp8-api, `get_lora_for_key`, repaired in 7a7b2c18
    - larsupb/LoRA-Merger-ComfyUI `convert_to_regular_lora`
    """

    code = "LS207"
    name = "constant-default-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Literals that are divided by the rank, or saved, where the module has no alpha."""
        for found in ledger.once(divided_stand_ins):
            if found.spot.file.is_test or is_start(ledger, found) or asked_afterwards(ledger, found):
                continue
            fallback = never_missing(ledger, found)
            trace = [
                (found.spot, f"a file without this key gets alpha {found.number:g}"),
                (found.used.spot, "and is divided by the rank"),
            ]
            if fallback is not None:
                trace.append((fallback, "this fallback to the rank can never run"))
            yield self._report(found, "defaults to {}, and not to", trace, ledger, fallback)
        seen: set[tuple[str, int]] = set()
        for found in (*default_stand_ins(ledger), *settled_for_files(ledger)):
            place = (found.spot.file.filename, found.spot.row)
            if found.used.spot.file.is_test or place in seen or asked_afterwards(ledger, found):
                continue
            seen.add(place)
            yield self.at(
                found.used.spot,
                f"the alpha of a file is whatever was chosen, by default {found.number:g}, and not the rank",
                confidence="high" if found.is_strength_option else "medium",
                effect=f"effective scale {found.number:g} / rank instead of 1 for a file without alpha",
                trace=[
                    (found.spot, f"the default is {found.number:g}"),
                    (found.used.spot, "it is divided by the rank of the module's own factors"),
                ],
            )
        for found in written_stand_ins(ledger):
            if not found.spot.file.is_test:
                trace = [(found.spot, f"a module without alpha gets {found.number:g}")]
                trace.append((found.used.spot, "and is written beside the factors"))
                yield self._report(found, "is saved as {}, and not as", trace, ledger, None)

    def _report(
        self,
        found: StandIn,
        verb: str,
        trace: list[tuple[Spot, str]],
        ledger: Ledger,
        fallback: Spot | None,
    ) -> Finding:
        fix = None
        if isinstance(found.used, Quotient):
            from lorascale_lint.codemods.default_to_rank import default_to_rank

            fix = default_to_rank(ledger.read_source, found.spot, found.used.spot, fallback is not None)
        return self.at(
            found.spot,
            f"a missing alpha {verb.format(f'{found.number:g}')} the layer's rank",
            effect=f"effective scale {found.number:g} / rank instead of 1 for a file without alpha",
            trace=trace,
            fix=fix,
        )
