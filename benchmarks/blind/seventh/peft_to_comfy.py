# wrong in line 28: an rsLoRA adapter was trained at alpha / sqrt(r), the reader of the written file divides by r, so alpha must be multiplied by sqrt(r) and is not
"""Export a PEFT adapter for ComfyUI.

ComfyUI applies `alpha / lora_down.shape[0]` to every pair.
"""
import json
import logging
import os

import click
import torch
from safetensors.torch import load_file, save_file

log = logging.getLogger("peft_to_comfy")


def load_adapter(folder):
    with open(os.path.join(folder, "adapter_config.json")) as f:
        cfg = json.load(f)
    return load_file(os.path.join(folder, "adapter_model.safetensors")), cfg


def to_comfy(sd, cfg, dtype=torch.float16):
    kind = "rsLoRA" if cfg.get("use_rslora") else "LoRA"
    log.info("exporting %s adapter, r=%d alpha=%s", kind, cfg["r"], cfg["lora_alpha"])
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise NotImplementedError("per-layer patterns are not supported")
    alpha = float(cfg["lora_alpha"])
    out = {}
    for key, w in sd.items():
        key = key.replace("base_model.model.", "diffusion_model.")
        if key.endswith(".lora_A.weight"):
            stem = key[: -len(".lora_A.weight")]
            out[stem + ".lora_down.weight"] = w.to(dtype).contiguous()
            out[stem + ".alpha"] = torch.tensor(alpha)
        elif key.endswith(".lora_B.weight"):
            stem = key[: -len(".lora_B.weight")]
            out[stem + ".lora_up.weight"] = w.to(dtype).contiguous()
        else:
            log.warning("skipping %s", key)
    return out


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.argument("target", type=click.Path(dir_okay=False))
def main(folder, target):
    logging.basicConfig(level=logging.INFO)
    sd, cfg = load_adapter(folder)
    save_file(to_comfy(sd, cfg), target)


if __name__ == "__main__":
    main()
