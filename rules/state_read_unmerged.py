"""LS509: the state dict of a merged model is used when the model is unmerged again."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.read_after_unmerge import read_after_unmerge
from lorascale_lint.rule import Rule


class StateReadUnmerged(Rule):
    """State dict of a merged model that is used after the unmerge

    ## What it finds

    A function that merges an adapter, takes the model's `state_dict()`, unmerges the adapter, and only then
    uses what it took: saves it, or hands it to an inference engine.

    ## Why it is wrong

    `state_dict()` gives the tensors of the model and no copies. The unmerge subtracts the delta from these
    very tensors, so that what is used is the base.

    ## Effect

    No effect of the adapter in what is saved or sampled, at any alpha.

    ## Bad

    ```python
    def sync(model, engine):
        model.merge_adapter()
        weights = model.state_dict()
        model.unmerge_adapter()
        weights = {key: value for key, value in weights.items() if "lora_" not in key}
        engine.load_weights(weights.items())
    ```

    ## Good

    ```python
    def sync(model, engine):
        model.merge_adapter()
        weights = model.state_dict()
        weights = {key: value for key, value in weights.items() if "lora_" not in key}
        engine.load_weights(weights.items())
        model.unmerge_adapter()
    ```

    ## Fix safety

    No fix: move the unmerge behind the last use, or copy the tensors before it, which takes their memory
    twice.

    ## Limits

    All of it must be in one function that speaks of LoRA or PEFT. Silent where the tensors may be copied on
    the way (`clone`, `cpu`, `to`).

    ## References

    - huggingface/trl `grpo_trainer.py`: the rollout model ran without its adapter
    """

    code = "LS509"
    name = "state-read-unmerged"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Unmerges that change what is used behind them."""
        for found in read_after_unmerge(ledger):
            undo = found.unmerge.called
            yield self.at(
                found.unmerge.spot,
                f"`{undo}` takes the delta out of `{found.name}`, which is used behind it",
                effect="the adapter has no effect in what is used: the tensors are those of the model",
                trace=[
                    (found.merge.spot, "the delta is added to the weights"),
                    (found.taken, f"`{found.name}` holds the weights themselves, and no copies"),
                    (found.unmerge.spot, "the delta is subtracted from them"),
                    (found.read, f"and `{found.name}` is used as if it were merged"),
                ],
            )
