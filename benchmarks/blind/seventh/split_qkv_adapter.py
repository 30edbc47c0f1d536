# silent: only the up factor is chunked, each branch keeps the full down factor, so rank and alpha stay as they are
"""Split adapters of a fused qkv projection into three diffusers-style adapters."""
import torch


def _qkv_targets(name):
    base = name[: -len(".qkv")]
    return [f"{base}.to_{c}" for c in "qkv"]


def split(state_dict):
    names = sorted({k.rsplit(".lora_", 1)[0] for k in state_dict if ".lora_down" in k})
    result = {}
    for name in names:
        down = state_dict[f"{name}.lora_down.weight"]
        up = state_dict[f"{name}.lora_up.weight"]
        alpha = state_dict.get(f"{name}.alpha")
        if alpha is None:
            alpha = torch.tensor(float(down.shape[0]))
        if name.endswith(".qkv"):
            pieces = up.chunk(3, dim=0)
            targets = _qkv_targets(name)
        else:
            pieces, targets = (up,), (name,)
        for target, piece in zip(targets, pieces):
            result[f"{target}.lora_down.weight"] = down.clone()
            result[f"{target}.lora_up.weight"] = piece.contiguous()
            result[f"{target}.alpha"] = alpha.clone()
    return result


def delta(state_dict, name):
    down = state_dict[f"{name}.lora_down.weight"].float()
    up = state_dict[f"{name}.lora_up.weight"].float()
    return up @ down * (state_dict[f"{name}.alpha"].item() / down.shape[0])


def check(src, dst, name, atol=1e-5):
    """Compare the fused update with the three split ones."""
    whole = delta(src, name)
    parts = torch.cat([delta(dst, t) for t in _qkv_targets(name)])
    return torch.allclose(whole, parts, atol=atol)
