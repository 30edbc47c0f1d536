"""LS227: the rank of an adapter is chosen, and its alpha stays at a constant that nobody can change."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.chosen_ranks import chosen_ranks, made_up_alphas
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unread_alphas import unread_alpha
from lorascale_lint.rule import Rule


class RankWithoutAlpha(Rule):
    """Rank that is chosen beside an alpha that is a constant

    ## What it finds

    `LoraConfig(r=rank)` with a rank that is no literal and no `lora_alpha`; a call that gives a function of
    the project another rank and leaves its alpha at a constant default; a record of PEFT's options with a
    rank and no alpha, or an `adapter_config.json` that is written so; and a literal alpha that goes, with all
    tensors of a file, to code that applies them. A function that is given an alpha, or reads one, and does
    nothing with it shows that the constant was not meant: that is reported by default.

    ## Why it is wrong

    The scale is alpha / rank. With a constant alpha it changes whenever somebody changes the rank, and an
    adapter that was trained with another alpha is applied at another strength.

    ## Effect

    `LoraConfig` without `lora_alpha` has alpha 8: scale 1/16 at rank=128.

    ## Bad

    ```python
    def load_lora(path):
        state_dict = load_file(path)
        return lora_model_from_state_dict(state_dict=state_dict, alpha=8)
    ```

    ## Good

    ```python
    def load_lora(path):
        state_dict = load_file(path)
        return lora_model_from_state_dict(state_dict=state_dict, alpha=None)
    ```

    ## Fix safety

    No fix: what alpha should be, the rank or an option of its own, is a choice.

    ## Limits

    Of medium confidence but for the literal beside a file: a fixed alpha may be meant. Silent for literal
    ranks, and where arguments are given by `**`.

    ## References

    - OpenGVLab/InternVL `wrap_backbone_lora`, huggingface/lerobot `PeftConfig`
    - InvokeAI `LoRALoader`: alpha 8 for every file in PEFT's format
    """

    code = "LS227"
    name = "rank-without-alpha"
    yields_to = ("LS206", "LS315")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Ranks that are given without an alpha, and alphas that are made up for a file."""
        for found in chosen_ranks(ledger):
            trace = [(found.spot, "the rank is chosen here")]
            if found.declared is not None:
                trace.append((found.declared, f"and alpha is {found.default:g}, whatever the rank is"))
            unread = unread_alpha(ledger, found.spot.function)
            if unread is not None:
                trace.append((unread.spot, f"`{unread.name}` comes in here, and nothing reads it"))
            yield self.at(
                found.spot,
                f"`{found.told}` gets a rank and no alpha, which is {found.default:g} by default",
                confidence="medium" if unread is None else "high",
                effect=f"scale {found.default:g} / rank: {found.default / 128:g} at rank=128",
                trace=trace,
            )
        for made in made_up_alphas(ledger):
            yield self.at(
                made.spot,
                f"every file is applied with alpha {made.number:g}, whatever it was trained with",
                effect=f"scale {made.number:g} / rank of the file instead of the trained one",
                trace=[(made.use.spot, "the tensors are those of a file"), (made.spot, "alpha is a literal")],
            )
