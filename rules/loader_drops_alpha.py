"""LS301: a loader hands on the factors of an adapter file and never reads its alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.complete_alphas import complete_alphas
from lorascale_lint.codemods.keep_alpha import keep_alpha
from lorascale_lint.codemods.thread_alpha_of_loader import passes_alpha, thread_alpha
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Event, Loc
from lorascale_lint.findings import Finding
from lorascale_lint.model import Loader, Model
from lorascale_lint.model.adapter_flow import is_file_alpha
from lorascale_lint.model.adapter_keys import alpha_mentions, key_traffic
from lorascale_lint.model.alpha_spellings import foreign_name, reads_tensors_only
from lorascale_lint.model.origins import value_converted
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.unused_alpha import UnusedAlpha
from lorascale_lint.model.vocabulary import ALPHA_KEYS
from lorascale_lint.rule import Rule


class LoaderDropsAlpha(Rule):
    """Loader that hands on the factors and drops alpha

    ## What it finds

    A function that looks both factors up by key (`.lora_A`, `.lora_B`, `.lora_down` ...), gives them
    to a layer's setter without an alpha, and reads no alpha anywhere on that way: no `.alpha`,
    `.lora_alpha` or `.alpha_scale` key, no `adapter_config.json`, no file metadata. Also a loader that knows
    alpha as `.lora_alpha` only, while it takes names of formats that spell it `.alpha` (`diffusion_model.`,
    `lora_down` ...). With `--preview`, also one that looks alpha up as `.lora_alpha` and never into
    `adapter_config.json` or the metadata, and one whose layers keep no alpha at all.

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

    def check(self, model: Model) -> Iterator[Finding]:
        """Setter calls without alpha in loaders that never read one."""
        for loader in model.loaders:
            yield from self._other_spellings(model, loader)
            yield from self._beside_the_tensors(model, loader)
            yield from self._into_unscaled_layers(model, loader)
            left = _left_behind(model, loader.function)
            mentions = alpha_mentions(model.project, loader.function)
            if left is None and (mentions or not _reads_files(model, loader)):
                continue
            for site, implementation, setter in loader.setter_calls:
                alpha = implementation.alpha
                parameter = setter.alpha_parameter
                if alpha is None or (parameter is None and (setter.writes_alpha or not alpha.may_be_none)):
                    continue
                if parameter is not None and passes_alpha(site, setter, parameter):
                    continue
                yield self.finding(
                    model,
                    loader.function.filename,
                    site.call.loc,
                    f"factors are looked up and given to `{setter.function.facts.name}` without their alpha",
                    event=site.event,
                    effect=effect_of(ONE),
                    trace=_steps(loader, left),
                    fix=thread_alpha(model, implementation, setter),
                )

    def _other_spellings(self, model: Model, loader: Loader) -> Iterator[Finding]:
        """Loaders that take the names of other formats and know alpha as ``.lora_alpha`` only."""
        function, files = loader.function, loader.traffic.files_read
        foreign = foreign_name(model.project, function) if files and loader.setter_calls else None
        if foreign is None:
            return
        use = next(use for use in loader.traffic.uses if use.role == "alpha" and use.how == "read")
        yield self.finding(
            model,
            function.filename,
            use.loc,
            f"alpha is looked up as `{use.pattern}` only; the loader takes files that state it as `.alpha`",
            event=use.event,
            effect=effect_of(ONE) + ", for such files",
            trace=[
                (function.filename, files[0].loc, "the adapter file is read here"),
                (function.filename, foreign.loc, f"`{foreign.value}` belongs to files that state `.alpha`"),
            ],
            fix=complete_alphas(model, function, files[0]),
        )

    def _beside_the_tensors(self, model: Model, loader: Loader) -> Iterator[Finding]:
        """Loaders that know every key of alpha, and none of the places beside the tensors."""
        function, files = loader.function, loader.traffic.files_read
        use = next((use for use in loader.traffic.uses if use.how == "read" and use.role == "alpha"), None)
        if (
            use is None
            or not files
            or not loader.setter_calls
            or not reads_tensors_only(model.project, function)
        ):
            return
        fix = complete_alphas(model, function, files[0])()
        if fix is not None:  # a finding for the sake of the repair
            yield self.finding(
                model,
                function.filename,
                use.loc,
                "alpha is looked for among the tensors only, not in `adapter_config.json` or the metadata",
                event=use.event,
                confidence="medium",
                effect=effect_of(ONE) + ", for files that state it there",
                trace=[(function.filename, files[0].loc, "the adapter file is read here")],
                fix=lambda: fix,
            )

    def _into_unscaled_layers(self, model: Model, loader: Loader) -> Iterator[Finding]:
        """Loaders of adapter files whose layers can't be told an alpha and apply `B A` alone."""
        if alpha_mentions(model.project, loader.function) or not loader.traffic.files_read:
            return
        for site, implementation, setter in loader.setter_calls:
            plain = [a for a in implementation.applications if a.kind != "unmerge"]
            if setter.alpha_parameter is not None or implementation.alpha or implementation.scaling:
                continue
            if not plain or not all(set(found.scales) == {ONE} for found in plain):
                continue
            yield self.finding(
                model,
                loader.function.filename,
                site.call.loc,
                f"factors of a file are given to `{setter.function.facts.qualname}`, which knows no alpha",
                event=site.event,
                confidence="medium",
                effect=effect_of(ONE) + ", for files that state one",
                trace=[
                    *_steps(loader, None),
                    (plain[0].function.filename, plain[0].loc, "the layer applies `B A` alone"),
                ],
                fix=keep_alpha(model, loader, site, implementation, setter),
            )


def _reads_files(model: Model, loader: Loader) -> bool:
    """Is an adapter file read in the loader, in what it calls, or in what calls it?"""
    callers = [site.caller for site in model.project.call_sites(loader.function)]
    nearby = (*model.project.reachable(loader.function, 2), *callers)
    return any(key_traffic(function).files_read for function in nearby)


def _left_behind(model: Model, function: Function) -> Event | None:
    """The lookup of a module's alpha whose result the loader binds to a name and never uses."""
    if any(where is not function for where, _ in alpha_mentions(model.project, function)):
        return None
    bound = [event for event in function.events("bind") if is_file_alpha(value_converted(event.value), ())]
    tested = any(use.role == "alpha" and use.how != "read" for use in key_traffic(function).uses)
    if not bound or tested or UnusedAlpha(model.project, (function,)).is_used:
        return None
    return bound[0]


def _steps(loader: Loader, left: Event | None) -> Iterator[tuple[str, Loc, str]]:
    filename = loader.function.filename
    for event in loader.traffic.files_read:
        yield filename, event.loc, "the adapter file is read here"
    for role in ("A", "B"):
        use = next((use for use in loader.traffic.uses if use.role == role and use.how != "write"), None)
        if use is not None:
            yield filename, use.loc, f"factor {role} is looked up as `{use.pattern}`"
    if left is not None:
        yield filename, left.loc, f"alpha is looked up as `{left.name}`, and nothing uses it"
        return
    keys = ", ".join(f"`{key}`" for key in ALPHA_KEYS)
    yield (
        filename,
        loader.function.facts.loc,
        f"nothing here reads {keys}, `adapter_config.json` or file metadata",
    )
