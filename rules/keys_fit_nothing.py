"""LS319: factors are loaded under keys that their layers do not have, and nothing complains."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unfitting_keys import unfitting_keys
from lorascale_lint.rule import Rule


class KeysFitNothing(Rule):
    """Adapter loaded with `strict=False` under keys that the model does not have

    ## What it finds

    A file into which the factors of a model's state are written with something put before each key, and
    which the same file of code gives to `load_state_dict(..., strict=False)` of that model as it is.

    ## Why it is wrong

    With `strict=False` keys that fit nothing are passed over. The layers keep the factors with which they
    were made: B is zero, so that the delta is zero, whatever alpha / rank says.

    ## Effect

    Strength 0: the adapter does nothing.

    ## Bad

    ```python
    import torch


    def save(model, path):
        torch.save({"adapter." + k: v for k, v in model.state_dict().items() if "lora_" in k}, path)


    def load(model, path):
        model.load_state_dict(torch.load(path), strict=False)
    ```

    ## Good

    ```python
    import torch


    def save(model, path):
        torch.save({"adapter." + k: v for k, v in model.state_dict().items() if "lora_" in k}, path)


    def load(model, path):
        state = {k.removeprefix("adapter."): v for k, v in torch.load(path).items()}
        model.load_state_dict(state, strict=False)
    ```

    ## Fix safety

    No fix. Take off what was put before the keys, or leave it off; look at what `load_state_dict` gives
    back, which names the keys that were missed.

    ## Limits

    Seen with `--preview` only: both models go by one name, and may be two. Both calls must stand in one file.

    ## References

    - torch.nn.Module.load_state_dict
    """

    code = "LS319"
    name = "keys-fit-nothing"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Loads whose keys are longer than those of the model."""
        for found in unfitting_keys(ledger):
            yield self.at(
                found.load.spot,
                f"no key of this file fits: all begin with `{found.prefix}`, and nothing complains",
                confidence="medium",
                effect="strength 0: B stays zero",
                trace=[
                    (found.written.spot, f"the keys are saved with `{found.prefix}` before them"),
                    (
                        found.load.spot,
                        "they are loaded so, and what fits nothing is passed over",
                    ),
                ],
            )
