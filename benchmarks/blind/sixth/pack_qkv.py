# wrong in line 36: the packed matrix is written with the alpha of the last projection (v), q and k have their own
"""Pack separate to_q / to_k / to_v adapters into one fused qkv adapter."""
import torch

PARTS = ("to_q", "to_k", "to_v")


def read_part(state, stem):
    down = state[f"{stem}.lora_down.weight"]
    up = state[f"{stem}.lora_up.weight"]
    alpha = state.get(f"{stem}.alpha", torch.tensor(float(down.shape[0])))
    return down, up, float(alpha)


def block_diag_up(ups):
    rows = sum(u.shape[0] for u in ups)
    cols = sum(u.shape[1] for u in ups)
    out = ups[0].new_zeros(rows, cols)
    r = c = 0
    for u in ups:
        out[r:r + u.shape[0], c:c + u.shape[1]] = u
        r += u.shape[0]
        c += u.shape[1]
    return out


def pack(state, attn):
    downs, ups = [], []
    for part in PARTS:
        down, up, alpha = read_part(state, f"{attn}.{part}")
        downs.append(down)
        ups.append(up)
    down = torch.cat(downs, dim=0)
    up = block_diag_up(ups)
    # the packed rank is the sum, so alpha has to grow with it to keep alpha / rank
    grown = alpha * down.shape[0] / downs[-1].shape[0]
    return {
        f"{attn}.qkv.lora_down.weight": down,
        f"{attn}.qkv.lora_up.weight": up,
        f"{attn}.qkv.alpha": torch.tensor(grown),
    }


def pack_all(state):
    stems = sorted({k.rsplit(".to_q.", 1)[0] for k in state if ".to_q." in k})
    packed = {}
    for attn in stems:
        packed.update(pack(state, attn))
    rest = {k: v for k, v in state.items() if not any(f".{p}." in k for p in PARTS)}
    return {**rest, **packed}
