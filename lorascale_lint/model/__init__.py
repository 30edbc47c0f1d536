"""The semantic model: facts of all files linked, and what they mean for LoRA deltas."""

from lorascale_lint.model.model import Implementation, Loader, Model, build_model

__all__ = ["Implementation", "Loader", "Model", "build_model"]
