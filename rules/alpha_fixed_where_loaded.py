"""LS315: an alpha that can be chosen for training is a literal where the trained factors are loaded."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.fixed_alphas import fixed_alphas
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class AlphaFixedWhereLoaded(Rule):
    """Literal alpha where an adapter is loaded that was trained with a chosen one

    ## What it finds

    Code that makes LoRA layers with a literal alpha and loads trained factors into them, in a
    project whose training takes alpha from an option or a configuration; or by the same call as the training,
    without an alpha.

    ## Why it is wrong

    The file has the factors only. Trained with another alpha than the one that stands here, it is applied
    at another strength than it was trained at; another rank ends with an error, another alpha with nothing.

    ## Effect

    2.00x too strong if it was trained with alpha 256 and alpha 512 stands here.

    ## Bad

    ```python
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file


    def trained_model(model, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        return get_peft_model(model, config)


    def load_for_inference(model, path):
        config = LoraConfig(r=256, lora_alpha=512, target_modules=["to_q"])
        model = get_peft_model(model, config)
        model.load_state_dict(load_file(path), strict=False)
        return model
    ```

    ## Good

    ```python
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file


    def trained_model(model, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        return get_peft_model(model, config)


    def load_for_inference(model, path, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        model = get_peft_model(model, config)
        model.load_state_dict(load_file(path), strict=False)
        return model
    ```

    ## Fix safety

    No fix: the alpha has to be saved with the factors, or be an option here too.

    ## Limits

    Reported with `--preview` only: nobody can see with which settings a file was trained. Both sides must be
    among the checked files. Silent where the same code trains on, and in tests.

    ## References

    - PKU-YuanGroup/Spark-Wan: `infer.py` has alpha 512, the training's configuration 128
    """

    code = "LS315"
    name = "alpha-fixed-where-loaded"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Literal alphas in code that loads, where other code takes alpha from its settings."""
        for found in fixed_alphas(ledger):
            alpha = found.alpha
            where = f"with alpha {alpha.formula()}" if alpha else "with the constructor's own alpha"
            yield self.at(
                found.made.spot,
                f"factors are loaded into layers {where}, and the training takes alpha from its settings",
                confidence="medium",
                effect="alpha here / alpha of the training, in strength",
                trace=[
                    (found.chosen.spot, "the training takes alpha from its settings"),
                    (found.made.spot, "here alpha is a literal" if alpha else "here nothing is given"),
                    (found.loads.spot, "trained factors are loaded into these layers"),
                ],
            )
