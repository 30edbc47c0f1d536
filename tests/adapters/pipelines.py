"""Pipelines of diffusers with nothing in them but a tiny model, and files in many layouts for each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

RANK, ALPHA = 8, 4.0
_FACTORS = {
    "A/B": ("lora_A.weight", "lora_B.weight"),
    "down/up": ("lora_down.weight", "lora_up.weight"),
    "default": ("lora_A.default.weight", "lora_B.default.weight"),
    "bare": ("lora_A", "lora_B"),
}
_MAGNITUDES = ("magnitude", "dora_scale", "lora_magnitude_vector")


@dataclass(frozen=True)
class Pipeline:
    """`names` are the layers as diffusers calls them and as the model's first code does."""

    loader: str
    mixin: str
    component: str
    model: str
    config: Mapping[str, Any]
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """One way to write the file: whose names, what is before them, which factors, where alpha is."""

    original: bool
    prefix: str
    factors: str
    alpha: str = ""  # "" none, a tensor's name, "metadata" or "lora_adapter_metadata"

    def __str__(self) -> str:
        names = "original" if self.original else "model"
        return f"{self.prefix}[{names}] {self.factors} {self.alpha or 'no alpha'}"

    def key(self, own: str, original: str) -> str:
        """What the keys of a module begin with."""
        flat = self.prefix in ("lora_unet_", "lora_transformer_", "lycoris_")
        name = original if self.original else own
        return self.prefix + (name.replace(".", "_") if flat else name)


_WAN = tuple(
    (f"blocks.0.{own}.{name}", f"blocks.0.{original}.{letter}")
    for own, original in (("attn1", "self_attn"), ("attn2", "cross_attn"))
    for name, letter in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"))
)
_SMALL = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": 32}
_UNET = tuple(
    (f"down_blocks.1.attentions.0.transformer_blocks.0.{name}",) * 2 for name in ("attn1.to_q", "attn2.to_k")
)
_UNET_CONFIG = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1,
    "block_out_channels": (8, 16), "norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip

PIPELINES = (
    *(
        Pipeline("diffusers", mixin, "unet", "UNet2DConditionModel", _UNET_CONFIG, _UNET)
        for mixin in ("StableDiffusionLoraLoaderMixin", "StableDiffusionXLLoraLoaderMixin")
    ),
    Pipeline(
        "diffusers-flux", "FluxLoraLoaderMixin", "transformer", "FluxTransformer2DModel",
        {**_SMALL, "patch_size": 1, "in_channels": 4, "num_single_layers": 1, "pooled_projection_dim": 32,
         "axes_dims_rope": (4, 4, 8)},
        (
            ("transformer_blocks.0.attn.to_out.0", "double_blocks.0.img_attn.proj"),
            ("transformer_blocks.0.ff.net.0.proj", "double_blocks.0.img_mlp.0"),
            ("single_transformer_blocks.0.proj_out", "single_blocks.0.linear2"),
        ),
    ),
    Pipeline(
        "diffusers-flux2", "Flux2LoraLoaderMixin", "transformer", "Flux2Transformer2DModel",
        {**_SMALL, "patch_size": 1, "in_channels": 4, "num_single_layers": 1,
         "timestep_guidance_channels": 32, "axes_dims_rope": (4, 4, 4, 4)},
        (
            ("transformer_blocks.0.attn.to_out.0", "double_blocks.0.img_attn.proj"),
            ("transformer_blocks.0.ff.linear_in", "double_blocks.0.img_mlp.0"),
            ("single_transformer_blocks.0.attn.to_out", "single_blocks.0.linear2"),
        ),
    ),
    Pipeline(
        "diffusers-qwen", "QwenImageLoraLoaderMixin", "transformer", "QwenImageTransformer2DModel",
        {**_SMALL, "patch_size": 2, "in_channels": 16, "out_channels": 4, "axes_dims_rope": (8, 4, 4)},
        tuple((f"transformer_blocks.0.attn.{name}",) * 2 for name in ("to_q", "to_v", "add_q_proj")),
    ),
    Pipeline(
        "diffusers-wan", "WanLoraLoaderMixin", "transformer", "WanTransformer3DModel",
        {"patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4,
         "out_channels": 4, "text_dim": 20, "freq_dim": 16, "ffn_dim": 36, "num_layers": 1,
         "cross_attn_norm": True},
        (*_WAN, ("blocks.0.ffn.net.0.proj", "blocks.0.ffn.0"), ("blocks.0.ffn.net.2", "blocks.0.ffn.2")),
    ),
)  # fmt: skip


def layouts(pipeline: Pipeline) -> Iterator[Layout]:
    """Every combination that is found in the wild, and some that are not."""
    component = f"{pipeline.component}."
    for original, prefix, factors, alpha in itertools.product(
        (False, True), ("", component, "diffusion_model.", "base_model.model."), _FACTORS, ("", "alpha")
    ):
        yield Layout(original, prefix, factors, alpha)
    for prefix in ("", component):
        yield Layout(False, prefix, "A/B", "lora_alpha")
        yield Layout(False, prefix, "A/B", "metadata")
        yield Layout(False, prefix, "A/B", "alpha_scale")
    yield Layout(False, component, "A/B", "lora_adapter_metadata")
    for prefix, alpha in itertools.product(("lora_unet_", "lora_transformer_", "lycoris_"), ("", "alpha")):
        yield Layout(True, prefix, "down/up", alpha)
    for (original, prefix), role in itertools.product(
        ((False, component), (True, "diffusion_model.")), _MAGNITUDES
    ):
        yield Layout(original, prefix, "A/B", role)
    for original, prefix in ((True, "lycoris_"), (True, "lora_unet_"), (True, "diffusion_model.")):
        yield Layout(original, prefix, "LoHa", "alpha")
        yield Layout(original, prefix, "LoKr", "alpha")


def measured(pipeline: Pipeline, layout: Layout, file: Path) -> float | None:
    """The scale at which the pipeline loads such a file, written to `file`; None if it can't.

    Raises AssertionError if the modules' scales differ.
    """
    import diffusers
    import torch

    model = getattr(diffusers, pipeline.model)(**pipeline.config)
    tensors: dict[str, Any] = {}
    products: dict[str, Any] = {}
    generator = np.random.default_rng(0)
    for own, original in pipeline.names:
        rows, columns = model.get_submodule(own).weight.shape
        a = generator.standard_normal((RANK, columns)).astype(np.float32)
        b = generator.standard_normal((rows, RANK)).astype(np.float32)
        products[own] = b @ a
        module = layout.key(own, original)
        tensors |= _factors(module, layout.factors, a, b)
        if layout.alpha and not layout.alpha.endswith("metadata"):
            value: Any = ALPHA / RANK if layout.alpha == "alpha_scale" else ALPHA
            if layout.alpha in _MAGNITUDES:
                value = np.ones(rows)
            tensors[f"{module}.{layout.alpha}"] = np.array(value, np.float32)
    save_file(tensors, file, metadata=_metadata(pipeline, layout))
    if not _is_loaded(diffusers, pipeline, model, file):
        return None
    found = set()
    for own, product in products.items():
        layer = model.get_submodule(own)
        if "a" not in getattr(layer, "lora_A", {}):
            found.add(0.0)
            continue
        if layer.lora_B["a"].weight.is_meta:
            # It was loaded in name only: the first step of the pipeline ends with an error.
            return None
        delta = (layer.scaling["a"] * layer.lora_B["a"].weight @ layer.lora_A["a"].weight).detach()
        whole = torch.from_numpy(product)
        found.add(round(float((delta * whole).sum() / (whole * whole).sum()), 4))
    (scale,) = found
    return scale


def _is_loaded(diffusers: Any, pipeline: Pipeline, model: Any, file: Path) -> bool:
    """Have the pipeline load the file into its model, as the adapter "a"; False if it refuses it."""
    loaded = _pipeline(diffusers, pipeline)(**{pipeline.component: model})
    try:
        loaded.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="a")
    except Exception:
        return False
    return True


def _factors(module: str, factors: str, a: Any, b: Any) -> dict[str, Any]:
    if factors == "LoHa":
        pairs = {"hada_w1_a": b, "hada_w1_b": a, "hada_w2_a": b, "hada_w2_b": a}
    elif factors == "LoKr":
        pairs = {"lokr_w1": np.ones((1, 1), np.float32), "lokr_w2_a": b, "lokr_w2_b": a}
    else:
        down, up = _FACTORS[factors]
        pairs = {down: a, up: b}
    return {f"{module}.{name}": value for name, value in pairs.items()}


def _metadata(pipeline: Pipeline, layout: Layout) -> dict[str, str]:
    if layout.alpha == "metadata":
        return {"alpha": str(ALPHA)}
    if layout.alpha != "lora_adapter_metadata":
        return {"format": "pt"}
    config = {"r": RANK, "lora_alpha": ALPHA, "target_modules": [own for own, _ in pipeline.names]}
    stated = {f"{pipeline.component}.{key}": value for key, value in config.items()}
    return {"lora_adapter_metadata": json.dumps(stated)}


def _pipeline(diffusers: Any, pipeline: Pipeline) -> Callable[..., Any]:
    import diffusers.loaders.lora_pipeline as mixins

    class Tiny(diffusers.DiffusionPipeline, getattr(mixins, pipeline.mixin)):  # type: ignore[misc]
        def __init__(self, transformer=None, unet=None, text_encoder=None, text_encoder_2=None) -> None:
            super().__init__()
            given = {"transformer": transformer, "unet": unet}
            self.register_modules(
                **{name: value for name, value in given.items() if value is not None},
                text_encoder=text_encoder,
                text_encoder_2=text_encoder_2,
            )

        @property
        def components(self) -> dict[str, Any]:
            return {pipeline.component: getattr(self, pipeline.component)}

    return Tiny


def count_of_foreign(pipeline: Pipeline, other: Pipeline, layout: Layout, file: Path) -> int | None:
    """How many modules the pipeline takes of a file for another model; None if it refuses the file.

    Raises NameError if its model has a layer of such a name.
    """
    import diffusers

    model = getattr(diffusers, pipeline.model)(**pipeline.config)
    tensors: dict[str, Any] = {}
    for own, original in other.names:
        name = original if layout.original else own
        if any(name in known for known, _ in model.named_modules()):
            raise NameError(name)
        module = layout.key(own, original)
        a, b = np.ones((RANK, 16), np.float32), np.ones((16, RANK), np.float32)
        tensors |= _factors(module, layout.factors, a, b)
        if layout.alpha == "alpha":
            tensors[f"{module}.alpha"] = np.array(ALPHA, np.float32)
    save_file(tensors, file, metadata={"format": "pt"})
    if not _is_loaded(diffusers, pipeline, model, file):
        return None
    return sum("a" in getattr(layer, "lora_A", {}) for layer in model.modules())


def foreign_layouts(other: Pipeline) -> Iterator[Layout]:
    """The layouts in which the adapters of a model are published most."""
    yield Layout(False, f"{other.component}.", "A/B")
    yield Layout(True, "lora_unet_", "down/up", "alpha")
    for prefix in ("", "diffusion_model."):
        yield Layout(True, prefix, "A/B")
        yield Layout(True, prefix, "down/up", "alpha")
