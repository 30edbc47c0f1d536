# silent: the converter splits alpha/rank into A and B (halving/doubling), so no alpha needs to be written
import sys

import torch
from safetensors.torch import load_file, save_file


def get_alpha_scales(down_weight, alpha):
    rank = down_weight.shape[0]
    scale = alpha / rank
    scale_down = scale
    scale_up = 1.0
    while scale_down * 2 < scale_up:
        scale_down *= 2
        scale_up /= 2
    return scale_down, scale_up


def convert(sds_sd, sds_key, ait_key, ait_sd):
    down_key = sds_key + ".lora_down.weight"
    if down_key not in sds_sd:
        return
    down = sds_sd.pop(down_key)
    up = sds_sd.pop(sds_key + ".lora_up.weight")
    default_alpha = torch.scalar_tensor(down.shape[0], dtype=down.dtype)
    alpha = sds_sd.pop(sds_key + ".alpha", default_alpha).item()
    scale_down, scale_up = get_alpha_scales(down, alpha)
    ait_sd[ait_key + ".lora_A.weight"] = down * scale_down
    ait_sd[ait_key + ".lora_B.weight"] = up * scale_up


def convert_flux(sds_sd):
    ait_sd = {}
    for i in range(19):
        convert(sds_sd, f"lora_unet_double_blocks_{i}_img_attn_proj",
                f"transformer.transformer_blocks.{i}.attn.to_out.0", ait_sd)
        convert(sds_sd, f"lora_unet_double_blocks_{i}_img_mlp_0",
                f"transformer.transformer_blocks.{i}.ff.net.0.proj", ait_sd)
    if sds_sd:
        print("unsupported keys:", sorted(sds_sd)[:8])
    return ait_sd


if __name__ == "__main__":
    save_file(convert_flux(load_file(sys.argv[1])), sys.argv[2])
