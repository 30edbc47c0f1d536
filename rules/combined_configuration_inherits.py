"""LS212: the configuration of a new adapter is copied from another, with patterns and rsLoRA of that one."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import DECIDES_SCALE
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.configurations import declared_fields, is_configuration
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.provenance.values import Place, Text, options
from lorascale_lint.rule import Rule


class CombinedConfigurationInherits(Rule):
    """Configuration copied with a new rank and alpha, and the old patterns

    ## What it finds

    `dataclasses.replace` of a PEFT configuration with `r` and `lora_alpha` set to one number, so that the
    scale is meant to be 1, that leaves `rank_pattern`, `alpha_pattern` or `use_rslora` as they were.

    ## Why it is wrong

    A module that matches a pattern of the copied configuration gets its rank or alpha, and not the new one;
    with `use_rslora` the scale is r / sqrt(r) instead of 1.

    ## Effect

    8x too strong for an adapter of rank 64 whose source had `use_rslora`.

    ## Bad

    ```python
    from dataclasses import replace


    def combine(self, adapters, name, new_rank):
        self.peft_config[name] = replace(self.peft_config[adapters[0]], r=new_rank, lora_alpha=new_rank)
        self.inject_adapter(self.model, name)
    ```

    ## Good

    ```python
    from dataclasses import replace


    def combine(self, adapters, name, new_rank):
        self.peft_config[name] = replace(
            self.peft_config[adapters[0]],
            r=new_rank,
            lora_alpha=new_rank,
            use_rslora=False,
            rank_pattern={},
            alpha_pattern={},
        )
        self.inject_adapter(self.model, name)
    ```

    ## Fix safety

    No fix: a configuration of another library may lack some of the fields.

    ## Limits

    The configuration must be called as PEFT's are. Silent if the function reads the field that is left, and
    where the configuration's class is in the same folder and has no such field.

    ## References

    - peft `tuners/lora/model.py`, `add_weighted_adapter`
    """

    code = "LS212"
    name = "combined-configuration-inherits"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Copies that set rank and alpha to one number and leave what else decides the scale."""
        for look in looks(ledger):
            for use in look.uses:
                if use.name == "dataclasses.replace" and _means_one(use):
                    declared = declared_fields(ledger, use.spot)
                    there = DECIDES_SCALE if declared is None else DECIDES_SCALE & declared
                    left = sorted(there - set(use.given) - _read(look))
                    if left:
                        yield self.at(
                            use.spot,
                            f"a configuration meant for the scale 1 inherits `{'`, `'.join(left)}`",
                            effect="r / sqrt(r) with rsLoRA; another rank and alpha where a pattern matches",
                            trace=[(use.spot, "r and lora_alpha are one number; the rest is the source's")],
                        )


def _means_one(use: Use) -> bool:
    source = use.given.get("0")
    plain = {name: value for name, value in use.given.items() if name not in DECIDES_SCALE}
    given = {role_of(name, True): value for name, value in plain.items()}
    alpha, rank = given.get(ALPHA), given.get(RANK)
    sources = [option.value for option in options(source)] if source is not None else []
    known = any(isinstance(value, Place) and is_configuration(value.path) for value in sources)
    return known and alpha is not None and alpha == rank


def _read(look: Look) -> set[str]:
    return {read.key.literal or "" for read in look.reads if isinstance(read.key, Text)}
