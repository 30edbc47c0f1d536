# wrong in line 23: the alpha is stored as <module>.alpha, the key built here ends in .lora_down.alpha and is never in the file, so the default is always used
"""Load a kohya-style Flux file into diffusers-style module names."""
import torch

BLOCK_MAP = {
    "img_attn_proj": "attn.to_out.0",
    "txt_attn_proj": "attn.to_add_out",
    "img_mlp_0": "ff.net.0.proj",
    "img_mlp_2": "ff.net.2",
    "txt_mlp_0": "ff_context.net.0.proj",
    "txt_mlp_2": "ff_context.net.2",
}


def rename(module):
    """lora_unet_double_blocks_3_img_mlp_0 -> transformer_blocks.3.ff.net.0.proj"""
    body = module.removeprefix("lora_unet_double_blocks_")
    index, _, rest = body.partition("_")
    return f"transformer_blocks.{index}.{BLOCK_MAP[rest]}"


def scale_of(sd, key, down):
    alpha = sd.get(key.replace(".weight", ".alpha"))
    rank = down.shape[0]
    if alpha is None:
        return 1.0
    return alpha.item() / rank


def load_flux(sd):
    """Returns module name -> (A, B) with the alphas of the file folded into B."""
    loaded = {}
    for key, down in sd.items():
        if not key.endswith(".lora_down.weight"):
            continue
        module = key[: -len(".lora_down.weight")]
        if not module.startswith("lora_unet_double_blocks_"):
            continue
        up = sd[f"{module}.lora_up.weight"]
        loaded[rename(module)] = (down, up * scale_of(sd, key, down))
    return loaded


@torch.no_grad()
def merge(transformer, sd, weight=1.0):
    for name, (a, b) in load_flux(sd).items():
        layer = transformer.get_submodule(name)
        layer.weight.add_(weight * (b @ a).to(layer.weight))
