"""How adapters are put on and taken off whole models of libraries, and what such calls do with tensors.

Source: diffusers (loaders/lora_pipeline.py, lora_base.py, peft.py), PEFT (tuners/lora/layer.py), torch.
"""

from __future__ import annotations

_LOADER_OPTIONS = frozenset(
    "adapter_name hotswap weight_name subfolder revision variant cache_dir force_download resume_download "
    "proxies local_files_only token use_auth_token use_safetensors low_cpu_mem_usage network_alphas prefix "
    "metadata return_alphas return_lora_metadata unet_config torch_dtype weights_only".split()
)

LOADER_KEYWORDS = {
    # diffusers loaders/lora_pipeline.py: the rest of **kwargs is read by nobody
    "load_lora_weights": _LOADER_OPTIONS,
    # diffusers loaders/peft.py: PeftAdapterMixin; it pops what it knows
    "load_lora_adapter": _LOADER_OPTIONS,
}
"""The options of loaders of diffusers that take any keyword and say nothing of those that they don't know."""

TAKES_ALPHAS = {
    "load_lora_into_unet": "network_alphas",
    "load_lora_into_text_encoder": "network_alphas",
    "load_lora_into_transformer": "network_alphas",
}
"""Second argument of loaders that put factors into a part of a pipeline: the alphas of the same file.

diffusers loaders/lora_pipeline.py; None is alpha = rank.
"""

SCALE_KEYWORDS = ("cross_attention_kwargs", "attention_kwargs", "joint_attention_kwargs")
"""Keywords by which a pipeline of diffusers is given a strength when it is called."""

FUSES, FUSES_SOME = "fuse_lora", frozenset({"adapter_names", "components"})
"""diffusers loaders/lora_base.py, LoraBaseMixin: adds all adapters to the weights, or some of them."""
TAKES_FUSED_OUT = frozenset({"unfuse_lora"})
PUTS_ADAPTERS_IN = frozenset({"load_lora_weights", "load_lora_into_unet", "load_lora_into_transformer"})
MAKES_PIPELINES = frozenset({"from_pretrained", "from_single_file", "from_pipe", "deepcopy"})

PUTS_WEIGHTS_BACK = frozenset(
    "unfuse_lora unmerge_adapter unmerge unmerge_lora load_state_dict deepcopy".split()
)
"""Calls that take a delta out of the weights again, or may: diffusers, peft, torch, Python."""

MERGE_PAIRS = {"unmerge_adapter": "merge_adapter", "unfuse_lora": "fuse_lora"}
"""Calls that subtract a delta in place, and those that added it: peft tuners/lora/layer.py, diffusers."""

GIVES_STATE = frozenset({"state_dict", "named_parameters", "parameters"})
"""Methods that give a module's own tensors, and no copies: torch.nn.Module."""

COPIES_TENSORS = frozenset(
    "clone copy deepcopy cpu cuda to numpy half float bfloat16 contiguous save full_tensor gather".split()
)
"""Calls that may give tensors of their own: torch.Tensor, copy."""

KEEPS_STRENGTH = frozenset({"set_adapters"})
"""Calls after which layers hold strength * alpha / rank: diffusers loaders/lora_base.py, peft set_scale."""

SCALES_BY = frozenset({"fuse_lora"})
"""Calls that multiply what the layers hold by another strength: diffusers, ``scale_layer`` and merge."""
