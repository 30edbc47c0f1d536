"""LS313: alpha is saved with the factors or the rank, and is not read back."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.half_restored import half_restored, misnamed
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks
from lorascale_lint.ledger.round_trips import tail_of
from lorascale_lint.ledger.unloaded_alphas import alphas_written, cares_for_alpha, loads_factors
from lorascale_lint.rule import Rule


class SavedAlphaNotLoaded(Rule):
    """Alpha that is saved with factors or the rank, and not loaded

    ## What it finds

    A class one method of which writes factors and their alpha into a file, and another of which reads the
    factors of such a file into its layers and leaves alpha where it is. A function that makes layers with the
    rank of a file (a checkpoint, its settings or metadata) into which another function writes alpha, too, and
    gives them an alpha from elsewhere: an option of this run, or a default. And one that looks alpha up under
    a name that the function which saves it does not write, so that its default always wins.

    ## Why it is wrong

    The layers go on with the alpha that this run was started with. A file that was trained with another one
    resumes, or is used, at a wrong strength, and is then saved with an alpha that it was not trained with.

    ## Effect

    2.00x too strong if the file has alpha 16 and this run alpha 32.

    ## Bad

    ```python
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn


    class Branch(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.alpha = alpha
            self.scale = alpha / rank
            self.linear = linear

        def forward(self, x):
            return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale


    class Network:
        def __init__(self, layers, rank, alpha):
            self.parts = {name: Branch(layer, rank, alpha) for name, layer in layers.items()}

        def save(self, path):
            tensors = {}
            for name, part in self.parts.items():
                tensors[f"{name}.lora_down.weight"] = part.lora_down.weight
                tensors[f"{name}.lora_up.weight"] = part.lora_up.weight
                tensors[f"{name}.alpha"] = torch.tensor(float(part.alpha))
            save_file(tensors, path)

        def load(self, path):
            tensors = load_file(path)
            for name, part in self.parts.items():
                part.lora_down.weight.data.copy_(tensors[f"{name}.lora_down.weight"])
                part.lora_up.weight.data.copy_(tensors[f"{name}.lora_up.weight"])
    ```

    ## Good

    ```python
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn


    class Branch(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.alpha = alpha
            self.scale = alpha / rank
            self.linear = linear

        def forward(self, x):
            return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale


    class Network:
        def __init__(self, layers, rank, alpha):
            self.parts = {name: Branch(layer, rank, alpha) for name, layer in layers.items()}

        def save(self, path):
            tensors = {}
            for name, part in self.parts.items():
                tensors[f"{name}.lora_down.weight"] = part.lora_down.weight
                tensors[f"{name}.lora_up.weight"] = part.lora_up.weight
                tensors[f"{name}.alpha"] = torch.tensor(float(part.alpha))
            save_file(tensors, path)

        def load(self, path):
            tensors = load_file(path)
            for name, part in self.parts.items():
                part.lora_down.weight.data.copy_(tensors[f"{name}.lora_down.weight"])
                part.lora_up.weight.data.copy_(tensors[f"{name}.lora_up.weight"])
                part.alpha = float(tensors[f"{name}.alpha"])
                part.scale = part.alpha / part.lora_down.weight.shape[0]
    ```

    ## Fix safety

    No fix: an old file may hold no alpha, and where the scale is kept is for the class to say.

    ## Limits

    Both methods belong to one class, or both functions to one project, and at least two keys are the same.
    Silent if the loading one reads or sets any alpha or scale, calls `load_state_dict`, or hands the file to
    something out of sight.

    ## References

    - a trainer's network class whose resume keeps the alpha of the command line
    """

    code = "LS313"
    name = "saved-alpha-not-loaded"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Classes that write alpha beside factors, and read factors without it."""
        yield from self._half_restored(ledger)
        written = alphas_written(ledger)
        if not written:
            return
        for look in looks(ledger, callees=True):
            cls = None if look.function is None else look.function.owner
            if cls is None or cls not in written or written[cls].spot.function is look.function:
                continue
            place = loads_factors(look)
            if place is not None and not cares_for_alpha(look):
                alpha = written[cls]
                yield self.at(
                    place,
                    f"`{look.function.qualname if look.function else ''}` loads the factors that "
                    f"`{alpha.spot.name}` saves, and not their alpha",
                    effect="alpha of the file / alpha of this run, in strength",
                    trace=[
                        (alpha.spot, "alpha is saved beside the factors"),
                        (place, "the file is loaded, and its alpha is never looked at"),
                    ],
                )

    def _half_restored(self, ledger: Ledger) -> Iterator[Finding]:
        for found in half_restored(ledger):
            if found.written is None:
                continue  # nothing is saved: LS314
            name, taken = found.use.spot.name, "rank" if found.takes_rank else "factors"
            told = "is left at its default" if found.given is None else "is not the one of the file"
            yield self.at(
                found.use.spot,
                f"`{name}` takes the {taken} that `{found.written.spot.name}` saves, and not the alpha",
                effect="alpha of the file / alpha of this run, in strength",
                trace=[
                    (found.written.spot, f"alpha is saved beside the {taken}"),
                    (found.read.spot, f"{taken} and no alpha: all that is read from there"),
                    (found.given or found.use.spot, f"`{found.parameter}` {told}"),
                ],
            )
        for wrong in misnamed(ledger):
            key, other = tail_of(wrong.read.key), tail_of(wrong.written.key)
            yield self.at(
                wrong.read.spot,
                f"`{key}` is looked up, which nobody writes: `{wrong.written.spot.name}` saves `{other}`",
                effect="the default in place of what was trained",
                trace=[
                    (wrong.written.spot, f"the number is saved as `{other}`"),
                    (wrong.read.spot, f"and read as `{key}`, so that the default always wins"),
                ],
            )
