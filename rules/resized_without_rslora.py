"""LS213: alpha of a configuration is changed so that alpha / r stays, whatever ``use_rslora`` says."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.configurations import Setting, configuration_of, owner_in_peft, settings
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import Text
from lorascale_lint.rule import Rule


class ResizedWithoutRslora(Rule):
    """Rank and alpha changed together, and `use_rslora` not looked at

    ## What it finds

    Code that gives an adapter another rank and multiplies its alpha by the same factor, so that
    `lora_alpha / r` stays what it was, and does not look at `use_rslora` of the same configuration.

    ## Why it is wrong

    With `use_rslora` the scale is alpha / sqrt(r). To keep it, alpha has to grow by the root of the factor;
    multiplied by the factor itself the adapter gets stronger.

    ## Effect

    1.41x too strong for an rsLoRA adapter whose rank is doubled; other adapters are right.

    ## Bad

    ```python
    def fuse_branches(peft_config, name, branches):
        peft_config.rank_pattern[name] = peft_config.r * len(branches)
        peft_config.alpha_pattern[name] = peft_config.lora_alpha * len(branches)
    ```

    ## Good

    ```python
    def fuse_branches(peft_config, name, branches):
        growth = len(branches) ** 0.5 if peft_config.use_rslora else len(branches)
        peft_config.rank_pattern[name] = peft_config.r * len(branches)
        peft_config.alpha_pattern[name] = peft_config.lora_alpha * growth
    ```

    ## Fix safety

    No fix: an old configuration may have no such field, and some programs should rather refuse it.

    ## Limits

    Both changes must be in one function, and the configuration must be called as PEFT's are; one that is
    called `config`, or that a `from_pretrained` gave, is seen with `--preview`. Silent if that function reads
    `use_rslora` at all.

    ## References

    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    - peft `utils/transformers_weight_conversion.py` and `tuners/lora/eva.py`
    """

    code = "LS213"
    name = "resized-without-rslora"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions that scale alpha with the rank of one configuration."""
        for look in looks(ledger):
            if _reads_flag(look):
                continue
            found = _kept_quotient(list(settings(look, ALPHA)), list(settings(look, RANK)))
            if found is not None:
                alpha, rank, sure = found
                yield self.at(
                    alpha.spot,
                    f"`{alpha.spot.name}` keeps `lora_alpha / r` of a configuration and ignores `use_rslora`",
                    confidence="high" if sure else "medium",
                    effect="for an rsLoRA adapter: the root of the factor too strong",
                    trace=[
                        (rank.spot, "the rank is changed"),
                        (alpha.spot, "alpha is changed by the same factor, which keeps alpha / r"),
                    ],
                )


def _kept_quotient(alphas: list[Setting], ranks: list[Setting]) -> tuple[Setting, Setting, bool] | None:
    for alpha in alphas:
        old = [s for s, power in alpha.scale.powers if s.role == ALPHA and power == 1]
        owner = owner_in_peft(old[0]) if len(old) == 1 else None
        if owner is None or alpha.scale == Scale.of(ALPHA, old[0].origin):
            continue
        for rank in ranks:
            inverse = rank.scale.inverse()
            quotient = ONE if inverse is None else alpha.scale * inverse
            below = [s for s, power in quotient.powers if s.role == RANK and power == -1]
            if len(below) != 1 or owner_in_peft(below[0]) != owner:
                continue
            kept = Scale.of(ALPHA, old[0].origin) * Scale.of(RANK, below[0].origin, -1)
            if quotient == kept and rank.scale != Scale.of(RANK, below[0].origin):
                return alpha, rank, configuration_of(old[0]) is not None
    return None


def _reads_flag(look: Look) -> bool:
    return any(isinstance(read.key, Text) and read.key.literal == "use_rslora" for read in look.reads)
