"""Adapter files to try code on: the keys of one module, as conventions write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, IN_OUT, LORA_DOWN_UP, Pair
from lorascale_lint.knowledge.examples import example_of
from lorascale_lint.knowledge.roles import A, B, key_role, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora


@immutable(frozen=True, slots=True)
class Sample:
    """The keys of one module in a file, and which words code that knows such files has in it."""

    convention: str
    module: str
    pair: Pair
    alpha: str
    one_of: tuple[str, ...]
    needs: str = ""
    states_alpha: bool = False
    """Does every file of the convention have an alpha for each module?"""
    base: str = ""
    """What follows the module in the key of the weight below the factors, in files that hold it too."""
    magnitude: str = ""
    """How the key of DoRA's magnitude ends."""
    of_dora: bool = False
    """Is there one in this file?"""
    dotted: bool = False
    """Are there dots in names that are flat in most files of the convention?"""
    of_models: tuple[tuple[str, str], ...] = ()
    """Modules of certain models, by a word of the code that knows those: it may take no other names."""

    def key(self, part: str) -> str:
        """Key of one part; in a dictionary of one module alone (no ``module``) the part itself."""
        return f"{self.module}.{part}" if self.module else part

    @property
    def down(self) -> str:
        """Key of A."""
        return self.key(self.pair.down)

    @property
    def up(self) -> str:
        """Key of B."""
        return self.key(self.pair.up)

    @property
    def alpha_key(self) -> str:
        """Key of alpha."""
        return self.key(self.alpha)

    @property
    def base_key(self) -> str:
        """Key of the weight below the factors; empty in files of factors alone."""
        return self.key(self.base) if self.base else ""

    @property
    def is_rare(self) -> bool:
        """Do few files look so, of those that the code names the convention of?"""
        return self.of_dora or self.dotted

    @property
    def magnitude_key(self) -> str:
        """Key of DoRA's magnitude; empty in files without one."""
        return self.key(self.magnitude) if self.of_dora else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, alpha last."""
        return (self.down, self.up, self.alpha_key)

    def is_named_in(self, text: str) -> bool:
        """May code with this text know such files?"""
        return self.needs in text and any(word in text for word in self.one_of)


_LETTERS = ("lora_A", "lora_B")

SAMPLES = (
    Sample(
        "kohya",
        "lora_unet_blocks_0_attn_to_q",
        DOWN_UP,
        "alpha",
        ("lora_down", "lora_up", "lora_unet"),
        "",
        True,
        magnitude="dora_scale",
        of_models=(
            (
                "attentions",
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
            ),  # SD, SDXL
            ("double_blocks", "lora_unet_double_blocks_0_img_attn_proj"),  # Flux
            ("lora_te1_text", "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"),  # SDXL, text encoders
            ("lora_te_text", "lora_te_text_model_encoder_layers_0_self_attn_q_proj"),
        ),
    ),
    Sample(
        "peft-trained",
        "base_model.model.model.layers.0.self_attn.q_proj",
        Pair("lora_A.default.weight", "lora_B.default.weight"),
        "alpha",
        ("lora_A.default", "lora_B.default", "base_layer."),
        base="base_layer.weight",
        magnitude="lora_magnitude_vector.default.weight",
    ),
    Sample(
        "peft",
        "base_model.model.model.layers.0.self_attn.q_proj",
        A_B,
        "alpha",
        _LETTERS,
        "base_model",
        magnitude="lora_magnitude_vector",
        of_models=(("transformer_blocks", "base_model.model.transformer_blocks.0.attn.to_q"),),
    ),
    Sample(
        "comfy",
        "diffusion_model.blocks.0.attn.to_q",
        A_B,
        "alpha",
        _LETTERS,
        of_models=(("double_blocks", "diffusion_model.double_blocks.0.img_attn.proj"),),
    ),
    Sample("fastvideo", "blocks.0.attn.to_q", BARE_A_B, "lora_alpha", _LETTERS, "lora_alpha"),
    Sample(
        "kohya-dotted",
        "diffusion_model.blocks.0.attn.to_q",
        DOWN_UP,
        "alpha",
        ("diffusion_model",),
        "lora_down",
        True,
        dotted=True,
    ),
    Sample("diffusers-legacy", "unet.blocks.0.attn.to_q", LORA_DOWN_UP, "alpha", ("lora.down", "lora.up")),
    Sample("megatron", "model.layers.0.self_attn", IN_OUT, "alpha", ("linear_in", "linear_out")),
)
"""In the order in which they are tried. The names of modules are those of a usual model."""


USUAL = (SAMPLES[0], SAMPLES[2])
"""For code whose words say nothing."""
USUAL_MODULE = "blocks.0.attn.to_q"
"""For code that is given the name of a module."""


_OPENING, _HOLDERS = (
    frozenset({"load", "read", "open"}),
    frozenset({"file", "weights", "tensors", "checkpoint"}),
)
_ADAPTERS = frozenset({"lora", "peft", "adapter", "torch"})
_NO_TENSORS = frozenset("metadata meta config header keys info into to model names size save prompts".split())


def opens_tensors(name: str) -> bool:
    """Does a function out of sight with this name give the tensors of a file by their keys?

    ``torch_load_file``, ``read_safetensors``, ``load_state_dict``, ``load_peft_weights``.
    """
    found = set(words(name))
    if not found & _OPENING or found & _NO_TENSORS:
        return False
    state = "safetensors" in found or {"state", "dict"} <= found or "statedict" in found
    return state or bool(found & _ADAPTERS and found & _HOLDERS)


_TRAILING = re.compile(r"\\\.\(\.[*+]\??\)\$?$")
"""What ends a pattern that takes a module's name with one more part."""
_NUMBER = re.compile(r"\(?\\d\+\)?")
_GROUP = re.compile(r"\\(\d|g<\w+>)$")
_MODULE = re.compile(r"\w+(\.\w+)+")
_PATTERN_MODULE = re.compile(r"[A-Za-z]+(?:[._]\w+){2,}")


def samples_of(text: str) -> list[Sample]:
    """The files that code with this text may know."""
    return [_of_model(sample, text) for sample in SAMPLES if sample.is_named_in(text)]


def _of_model(sample: Sample, text: str) -> Sample:
    known = (module for word, module in sample.of_models if word in text)
    module = next((m for m in known if not m.startswith("lora_te") or "lora_unet" not in text), sample.module)
    return replace(sample, module=module)


def sample_of_pattern(pattern: str, usual: Sequence[Sample]) -> Sample | None:
    """A file with a key, or a module, that a pattern takes; in the convention of its key, else the usual."""
    text = example_of(pattern)
    if text is None:
        return None
    for sample in (*usual, *SAMPLES):
        for part in (sample.pair.down, sample.pair.up):
            if text.endswith(f".{part}"):
                return replace(sample, module=text.removesuffix(f".{part}"), base="")
    is_module = _PATTERN_MODULE.fullmatch(text) is not None and key_role(text) is None
    return replace(usual[0], module=text, base="") if is_module and usual else None


def takes_more(pattern: str) -> bool:
    """Does a pattern take a module's name with one more part behind it?"""
    return _TRAILING.search(pattern) is not None


def ends_in_group(replacement: str) -> bool:
    """Does a replacement end in what a group matched?"""
    return _GROUP.search(replacement) is not None


def module_of_pattern(pattern: str) -> str | None:
    """A module whose keys a pattern such as ``^blocks\\.(\\d+)\\.attn\\.(.*)$`` takes; None for others."""
    if not takes_more(pattern):
        return None
    text = _NUMBER.sub("0", _TRAILING.sub("", pattern.removeprefix("^"))).replace("\\.", ".")
    return text if _MODULE.fullmatch(text) else None


def sample_of(keys: Sequence[str]) -> Sample | None:
    """A file with the keys that code looks up itself."""
    down, up = (next((key for key in keys if _side(key) == side), "") for side in (A, B))
    pairs = zip(down.split("."), up.split("."), strict=False)
    module = ".".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if not module and all(speaks_of_lora(key.partition(".")[0]) for key in (down, up)):
        return Sample("of one module", "", Pair(down, up), "alpha", ())
    if not module or not down.startswith(f"{module}.") or not up.startswith(f"{module}."):
        return None
    pair = Pair(down[len(module) + 1 :], up[len(module) + 1 :])
    return Sample("its own", module, pair, "alpha", ())


def _side(key: str) -> str | None:
    """The factor under a key, by a weak name too."""
    known = key_role(key)
    return known if known is not None else role_of(key.removesuffix(".weight").rpartition(".")[2], True)
