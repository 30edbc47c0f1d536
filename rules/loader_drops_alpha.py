"""LS301: a loader hands on the factors of an adapter file and never reads its alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.loaders import Loading, loadings
from lorascale_lint.ledger.patches import bare_patches
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class LoaderDropsAlpha(Rule):
    """Loader that hands on the factors and drops alpha

    ## What it finds

    A function that looks both factors up by key (`.lora_A`, `.lora_B`, `.lora_down` ...), gives them
    to a layer's setter without an alpha, and reads no alpha anywhere on that way: no `.alpha`,
    `.lora_alpha` or `.alpha_scale` key, no `adapter_config.json`, no file metadata. Also a loader that knows
    alpha as `.lora_alpha` only, while it takes names of formats that spell it `.alpha` (`diffusion_model.`,
    `lora_down` ...). With `--preview`, also one that looks alpha up as `.lora_alpha` and never into
    `adapter_config.json` or the metadata, one whose layers keep no alpha at all, and a patch for ComfyUI
    that has None in the place of alpha.

    ## Why it is wrong

    The file states the trained scale beside the factors. Dropping those keys leaves the layer with
    `B A` alone, at `r / alpha` of the trained strength.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    from safetensors.torch import load_file


    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        def set_lora_weights(self, A, B, lora_alpha=None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = lora_alpha if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            self.adapters[adapter_name] = {}
            for key, tensor in load_file(path).items():
                self.adapters[adapter_name][key.removesuffix(".weight")] = tensor
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    self.adapters[adapter_name][name + ".lora_A"],
                    self.adapters[adapter_name][name + ".lora_B"],
                )
    ```

    ## Good

    ```python
    import json
    import os
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file


    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        def set_lora_weights(self, A, B, lora_alpha=None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = lora_alpha if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)


    def add_lora_alphas(state_dict, path):
        \"\"\"
        Add `.lora_alpha` to the layers of an adapter that state alpha under another key, or only in
        adapter_config.json or the metadata of the file.
        \"\"\"
        config_path = os.path.join(os.path.dirname(path), "adapter_config.json")
        if os.path.isfile(config_path):
            with open(config_path) as f:
                config = json.load(f)
        else:
            with safe_open(path, framework="pt") as f:
                config = f.metadata() or {}
        for name in [key for key in state_dict if ".lora_A" in key]:
            layer, rank = name.split(".lora_A")[0], state_dict[name].shape[0]
            alpha = config.get("lora_alpha")
            if alpha is not None and str(config.get("use_rslora")).lower() == "true":
                alpha = float(alpha) * rank**0.5  # alpha / sqrt(rank)
            if layer + ".alpha_scale" in state_dict:  # alpha / rank
                alpha = state_dict[layer + ".alpha_scale"] * rank
            alpha = state_dict.get(layer + ".alpha", alpha)
            if alpha is not None and layer + ".lora_alpha" not in state_dict:
                state_dict[layer + ".lora_alpha"] = torch.tensor(float(alpha))


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            self.adapters[adapter_name] = {}
            state_dict = load_file(path)
            add_lora_alphas(state_dict, path)
            for key, tensor in state_dict.items():
                self.adapters[adapter_name][key.removesuffix(".weight")] = tensor
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    self.adapters[adapter_name][name + ".lora_A"],
                    self.adapters[adapter_name][name + ".lora_B"],
                    lora_alpha=self.adapters[adapter_name].get(name + ".lora_alpha"),
                )
    ```

    ## Fix safety

    Safe: an adapter without alpha keeps the scale 1, and one whose alpha equals its rank has it anyway
    (unless it asks for `use_rslora`, which nothing honoured before). Offered where every loader of the layer
    keeps the keys of the file, also under other names. Where one statement or loop reads the file, the repair
    also looks into `adapter_config.json` and the metadata; `alpha_pattern` is left to the maintainer. A layer
    that keeps no alpha gets a place for it, and the repairs of LS101 and LS203 go on from there.

    ## Limits

    Silent if the function, or anything it calls, mentions an alpha key (except to bind what it finds
    there to a name that nothing uses). Layers that keep no alpha at all are of medium confidence: the scale
    of their format may always be 1.

    ## References

    - FastVideo 0.1.6, `LoRAPipeline.set_lora_adapter`
    - LongCat-Video stores `alpha_scale` (alpha / rank already) per module
    """

    code = "LS301"
    name = "loader-drops-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Setter calls without alpha in loaders that read none, or know it under one name only."""
        for patch in bare_patches(ledger):
            yield self.at(
                patch.spot,
                "a patch is made of the factors of a file, with None in the place of alpha",
                confidence="medium",
                effect=effect_of(ONE) + ", for files that state one",
                trace=[(patch.spot, "files with such keys have `.alpha` beside them")],
            )
        seen: set[object] = set()
        for loading in loadings(ledger):
            if loading.function not in seen:
                yield from self._narrow(ledger, loading)
                seen.add(loading.function)
            if loading.lacks_alpha and loading.drops_alpha:
                yield from self._dropped(ledger, loading)
            elif loading.opened is not None and not loading.spellings and loading.bare is not None:
                yield self._unscaled(ledger, loading)

    def _dropped(self, ledger: Ledger, loading: Loading) -> Iterator[Finding]:
        from lorascale_lint.codemods.thread_alpha import passes, thread_alpha

        parameter = loading.setter.alpha_parameter
        if parameter is not None and passes(loading.handed.use, parameter):
            return
        yield self.at(
            loading.handed.use.spot,
            f"factors are looked up and given to `{loading.setter.function.name}` without their alpha",
            effect=effect_of(ONE),
            trace=loading.steps,
            fix=thread_alpha(ledger, loading.family, loading.setter),
        )

    def _unscaled(self, ledger: Ledger, loading: Loading) -> Finding:
        """Loaders of adapter files whose layers can't be told an alpha and apply `B A` alone."""
        bare = [] if loading.bare is None else [(loading.bare, "the layer applies `B A` alone")]
        from lorascale_lint.codemods.keep_alpha import keep_alpha

        return self.at(
            loading.handed.use.spot,
            f"factors of a file are given to `{loading.setter.function.qualname}`, which knows no alpha",
            confidence="medium",
            effect=effect_of(ONE) + ", for files that state one",
            trace=[*loading.steps, *bare],
            fix=keep_alpha(ledger, loading),
        )

    def _narrow(self, ledger: Ledger, loading: Loading) -> Iterator[Finding]:
        """Loaders that look alpha up under one name, while their files state it elsewhere too."""
        read, opened = loading.alpha_read, loading.opened
        if read is None or opened is None:
            return
        from lorascale_lint.codemods.complete_alphas import complete_alphas

        fix = complete_alphas(ledger, opened)
        if loading.foreign is not None:
            yield self.at(
                read.spot,
                "alpha is looked up as `.lora_alpha` only; the loader takes files that state it as `.alpha`",
                effect=effect_of(ONE) + ", for such files",
                trace=[
                    (opened, "the adapter file is read here"),
                    (loading.foreign[0], f"`{loading.foreign[1]}` belongs to files that state `.alpha`"),
                ],
                fix=fix,
            )
        elif loading.knows_tensors_only and fix() is not None:  # a finding for the sake of the repair
            yield self.at(
                read.spot,
                "alpha is looked for among the tensors only, not in `adapter_config.json` or the metadata",
                confidence="medium",
                effect=effect_of(ONE) + ", for files that state it there",
                trace=[(opened, "the adapter file is read here")],
                fix=fix,
            )
