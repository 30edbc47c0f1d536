"""Which case of a loader a file is."""

from __future__ import annotations

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.knowledge.kinds import UNSCALED
from lorascale_lint.knowledge.reading import Case, Files, Loader

# Diffusion models have some of these words with something before them, as `add_q_proj`.
_LANGUAGE = (
    ".q_proj", ".k_proj", ".v_proj", ".o_proj", ".gate_proj", ".up_proj", ".down_proj", ".qkv_proj",
    ".gate_up_proj", ".c_attn", ".query_key_value", ".embed_tokens", "lm_head", "transformer.h.",
)  # fmt: skip
_TEXT_ENCODERS = ("text_encoder", "lora_te", "text_model", "base_model.model.text_model")


def case_of(adapter: Adapter, loader: Loader) -> Case | None:
    """The first case that fits a file; None if the loader's table says nothing of such files."""
    return next((case for case in loader.cases if fits(adapter, case.files)), None)


def is_language_model(adapter: Adapter) -> bool:
    """Whether the names are those of a language model's layers, and of no text encoder."""
    return all(
        any(word in item.name for word in _LANGUAGE) and not item.name.startswith(_TEXT_ENCODERS)
        for item in adapter.modules
    )


def fits(adapter: Adapter, files: Files) -> bool:
    """Whether everything that is said of the files holds for this one."""
    own_name = adapter.source.path.name
    return (
        (not files.conventions or adapter.convention.name in files.conventions)
        and (not files.name or own_name == files.name)
        and own_name not in files.other_names
        and _names_fit(adapter, files)
    )


def _names_fit(adapter: Adapter, files: Files) -> bool:
    modules = adapter.modules
    # Full differences and the like, beside a LoRA, have no pair.
    paired = [item for item in modules if item.kind not in UNSCALED] or modules
    if files.pairs and not all(item.spelling.value in files.pairs for item in paired):
        return False
    if files.begin and not all(item.name.startswith(files.begin) for item in modules):
        return False
    if files.but_not and any(item.name.startswith(files.but_not) for item in modules):
        return False
    if files.some_without and not any(
        files.some_without not in name and not name.endswith(".dora_scale")
        for name in adapter.source.header.tensors
    ):
        return False
    if files.inside and not any(word in item.name for item in modules for word in files.inside):
        return False
    if files.ends and not any(item.name.endswith(files.ends) for item in modules):
        return False
    return not files.with_part or any(files.with_part in item.factors.keys for item in modules)
