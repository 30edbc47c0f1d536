# wrong in line 24: three branches of rank r become one of rank 3r while alpha stays that of one branch
import torch

FUSED = {
    "attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}


def fuse_block(sd, prefix):
    out = {}
    for fused, names in FUSED.items():
        stems = [f"{prefix}.{n}" for n in names]
        if not all(f"{s}.lora_down.weight" in sd for s in stems):
            continue
        downs = [sd[f"{s}.lora_down.weight"] for s in stems]
        ups = [sd[f"{s}.lora_up.weight"] for s in stems]
        alphas = {float(sd[f"{s}.alpha"]) for s in stems}
        if len(alphas) != 1 or len({d.shape[0] for d in downs}) != 1:
            raise ValueError(f"{prefix}.{fused}: branches differ in rank or alpha")
        key = f"lora_unet_{prefix}_{fused}".replace(".", "_")
        out[f"{key}.lora_down.weight"] = torch.cat(downs, dim=0)
        out[f"{key}.lora_up.weight"] = torch.block_diag(*ups)
        out[f"{key}.alpha"] = torch.tensor(alphas.pop())
    return out


def fuse_all(sd, depth):
    result = {}
    for i in range(depth):
        result.update(fuse_block(sd, f"double_blocks.{i}"))
    return result
