"""What stands where in ComfyUI's patches: a row ``(strength, (kind, tensors), strength of the model, ...)``.

Source: ComfyUI comfy/model_patcher.py, ``add_patches`` and ``calculate_weight``, before the adapters of
comfy/weight_adapter; the same rows are read in Fooocus, Forge and nodes that patch quantised weights.
"""

from __future__ import annotations

from lorascale_lint.knowledge.roles import ALPHA, CORE, KRONECKER, MAGNITUDE, A, B

STRENGTH_AT, PATCH_AT = 0, 1
"""Where the strength and the patch stand in a row; in a patch, its kind and its tensors."""
KIND_AT, TENSORS_AT = 0, 1

TENSORS: dict[str, tuple[str, ...]] = {
    "lora": (B, A, ALPHA, CORE, MAGNITUDE),
    "loha": (B, A, ALPHA, B, A, CORE, CORE, MAGNITUDE),
    "lokr": (KRONECKER, KRONECKER, ALPHA, B, A, B, A, CORE, MAGNITUDE),
}
"""What the tensors of each kind are, in their order."""
