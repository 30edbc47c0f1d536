"""LS307: the alpha of the first module that has one is used for every module of the file."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import left_overs
from lorascale_lint.ledger.of_the_first import of_the_first
from lorascale_lint.ledger.settled_by_one import settled_by_one
from lorascale_lint.rule import Rule


class OneAlphaForAll(Rule):
    """Alpha of the first module used for all

    ## What it finds

    A loop over an adapter dictionary that keeps one alpha (or one alpha / rank) of the keys that it
    meets, and a second loop over the tensors that uses this one number for each of them; with `--preview`
    also one over layers that are given it as their alpha. Also the scale of one of several adapters, taken by
    its place, in a loop over all of them; and, with `--preview`, the alpha of one module of a file that
    becomes the alpha of a configuration.

    ## Why it is wrong

    Files hold one alpha for each module because modules differ: in rank, in alpha, or in both. All but
    the chosen module get a scale that is not theirs, and tensors that are no factors get one as well.

    ## Effect

    Effective scale alpha / rank of the first module: 8.00x too weak for a module of ratio 1 if the
    first one has alpha=8, rank=64.

    ## Bad

    ```python
    def lora_scale_of(state_dict):
        for name, param in state_dict.items():
            if name.endswith(".alpha"):
                down = name.replace(".alpha", ".lora_down.weight")
                return param.item() / state_dict[down].shape[0]
        return 1


    def convert(state_dict):
        scale = lora_scale_of(state_dict)
        converted = {}
        for name, param in state_dict.items():
            converted["transformer." + name] = param * scale
        return converted
    ```

    ## Good

    ```python
    def lora_scale_of(state_dict, module):
        rank = state_dict[module + ".lora_down.weight"].shape[0]
        return float(state_dict.get(module + ".alpha", rank)) / rank


    def convert(state_dict):
        converted = {}
        for name, param in state_dict.items():
            if name.endswith(".alpha"):
                continue
            if name.endswith(".lora_down.weight"):
                param = param * lora_scale_of(state_dict, name.removesuffix(".lora_down.weight"))
            converted["transformer." + name] = param
        return converted
    ```

    ## Fix safety

    No fix: the lookup has to move into the second loop, with the key of each module. Scale one of
    the two factors, and leave biases and full-rank differences alone.

    ## Limits

    Silent if the function also looks alphas up by module, or compares the alphas that it meets with
    the chosen one, and if the number is only printed, stored or passed on alone.

    ## References

    - kohya-ss/sd-scripts commit 193674e1: `resize_lora_model` reads alpha and dim of each module
    - diffusers pull request 14409: one global alpha for layers of different rank
    """

    code = "LS307"
    name = "one-alpha-for-all"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Alphas that were found among all keys, and are used in a loop over tensors."""
        for found in ledger.once(left_overs):
            if not found.asked_for:
                what = "layer" if found.handed else "tensor"
                yield self.at(
                    found.taken,
                    f"one alpha is taken from the file and used for every {what} in `{found.used.name}`",
                    confidence="medium" if found.handed else "high",
                    effect="effective scale alpha / rank of one module instead of each module's own",
                    trace=[
                        (found.taken, "the alpha of whichever module has one is kept"),
                        (
                            found.used,
                            f"this loop goes through the {what}s, and each meets that alpha",
                        ),
                    ],
                )
        for one in of_the_first(ledger):
            yield self.at(
                one.bound,
                f"`{one.name}` is the scale of one of `{one.several}`, and multiplies each of them",
                confidence="medium",
                effect="effective scale of one adapter instead of each one's own",
                trace=[
                    (one.bound, "the scale of one of them is taken, before the loop"),
                    (one.used, f"this loop goes through `{one.several}`, and each meets that scale"),
                ],
            )
        for settled in settled_by_one(ledger):
            yield self.at(
                settled.spot,
                "the alpha of one module of the file is written as the one of all",
                confidence="medium",
                effect="effective scale alpha / rank of one module instead of each module's own",
                trace=[
                    (settled.read, "this is the alpha of whichever module comes first"),
                    (settled.spot, "and it is said of the whole adapter"),
                ],
            )
