# wrong in line 16: only tensors with dimensions are kept, alphas are scalars (0-d), so the look-up in inject.py never finds one and every module runs at alpha = rank
"""Reads adapter files; only trained matrices are of interest to the callers."""
import pathlib

from safetensors.torch import load_file


def normalise(key):
    for old, new in ((".lora_A.", ".lora_down."), (".lora_B.", ".lora_up.")):
        key = key.replace(old, new)
    return key.removeprefix("diffusion_model.")


def read(path):
    tensors = load_file(pathlib.Path(path))
    return {normalise(k): t for k, t in tensors.items() if t.ndim > 0}


def module_names(tensors):
    suffix = ".lora_down.weight"
    return sorted(k[: -len(suffix)] for k in tensors if k.endswith(suffix))
