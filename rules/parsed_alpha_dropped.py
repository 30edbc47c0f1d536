"""LS312: a converter sorts the alphas of a file into groups and writes the factors only."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.grouped_alphas import forgotten_alphas
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class ParsedAlphaDropped(Rule):
    """Alpha sorted into a group and never taken out of it

    ## What it finds

    A function that goes through the entries of an adapter file, keeps each alpha (`alpha`, `alpha_scale`)
    in a group of its module beside the factors, and then writes the factors of the groups without it.

    ## Why it is wrong

    The alpha was in the file and was understood. What is written has none, so that every reader takes
    alpha = rank, or the scale 1.

    ## Effect

    2.00x too strong for alpha 16 and rank 32.

    ## Bad

    ```python
    from safetensors.torch import load_file, save_file


    def convert_lora(src, dst):
        groups = {}
        for key, tensor in load_file(src).items():
            name, _, part = key.partition(".lora_")
            if key.endswith(".alpha"):
                groups.setdefault(key[: -len(".alpha")], {})["alpha"] = tensor
            elif part.startswith("down"):
                groups.setdefault(name, {})["down"] = tensor
            else:
                groups.setdefault(name, {})["up"] = tensor
        converted = {}
        for name, group in groups.items():
            converted[f"{name}.lora_A.weight"] = group["down"]
            converted[f"{name}.lora_B.weight"] = group["up"]
        save_file(converted, dst)
    ```

    ## Good

    ```python
    from safetensors.torch import load_file, save_file


    def convert_lora(src, dst):
        groups = {}
        for key, tensor in load_file(src).items():
            name, _, part = key.partition(".lora_")
            if key.endswith(".alpha"):
                groups.setdefault(key[: -len(".alpha")], {})["alpha"] = tensor
            elif part.startswith("down"):
                groups.setdefault(name, {})["down"] = tensor
            else:
                groups.setdefault(name, {})["up"] = tensor
        converted = {}
        for name, group in groups.items():
            converted[f"{name}.lora_A.weight"] = group["down"]
            converted[f"{name}.lora_B.weight"] = group["up"]
            if "alpha" in group:
                converted[f"{name}.alpha"] = group["alpha"]
        save_file(converted, dst)
    ```

    ## Fix safety

    No fix: some formats have no place for alpha, and then it has to be folded into a factor.

    ## Limits

    Silent if a group leaves the function, if any alpha is read there, and if a factor is scaled on the way.

    ## References

    - a converter of a video model's `alpha_scale` files, in the field reports that this project began with
    """

    code = "LS312"
    name = "parsed-alpha-dropped"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions that put alphas under a key which they never read, and give the factors on."""
        for stored, handed in forgotten_alphas(ledger):
            yield self.at(
                handed,
                f"`{handed.name}` sorts the alphas of the file into groups and hands on the factors only",
                effect="alpha / rank is lost: every reader takes the scale 1",
                trace=[
                    (stored, "alpha is kept with the factors of its module"),
                    (handed, "the factors are handed on, and no alpha with them"),
                ],
            )
