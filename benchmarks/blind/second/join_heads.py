# silent: the rank is multiplied by the number of branches and so is alpha
import torch


def join(entries):
    """entries: list of (down, up, alpha) which share rank and alpha."""
    n = len(entries)
    downs, ups, alphas = zip(*entries)
    if len({a for a in alphas}) > 1 or len({d.shape[0] for d in downs}) > 1:
        raise ValueError("branches differ")
    total = sum(u.shape[0] for u in ups)
    r = downs[0].shape[0]
    up = ups[0].new_zeros(total, n * r)
    row = 0
    for i, u in enumerate(ups):
        up[row : row + u.shape[0], i * r : (i + 1) * r] = u
        row += u.shape[0]
    return torch.cat(downs, dim=0), up, alphas[0] * n


def convert(sd, depth):
    out = {}
    for i in range(depth):
        entries = []
        for leaf in "qkv":
            stem = f"transformer_blocks.{i}.attn.to_{leaf}"
            down = sd[f"{stem}.lora_A.weight"]
            alpha = float(sd[f"{stem}.alpha"]) if f"{stem}.alpha" in sd else float(down.shape[0])
            entries.append((down, sd[f"{stem}.lora_B.weight"], alpha))
        down, up, alpha = join(entries)
        key = f"lora_unet_double_blocks_{i}_img_attn_qkv"
        out[f"{key}.lora_down.weight"] = down
        out[f"{key}.lora_up.weight"] = up
        out[f"{key}.alpha"] = torch.tensor(alpha)
    return out
