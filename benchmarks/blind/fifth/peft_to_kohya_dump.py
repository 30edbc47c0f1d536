# wrong in line 29: the literal 1.0 is written as alpha of factors that were trained with lora_alpha
"""Dump a live PeftModel as a single kohya-style file."""
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

PREFIX = {"unet": "lora_unet", "text_encoder": "lora_te"}


def kohya_name(part, module):
    module = module.removeprefix("base_model.model.")
    return f"{PREFIX[part]}_{module.replace('.', '_')}"


def branches(model, adapter):
    for name, layer in model.named_modules():
        if hasattr(layer, "lora_A") and adapter in layer.lora_A:
            yield name, layer


@torch.no_grad()
def dump(model: PeftModel, part: str, adapter="default", dtype=torch.float16):
    out = {}
    for name, layer in branches(model, adapter):
        stem = kohya_name(part, name)
        out[f"{stem}.lora_down.weight"] = layer.lora_A[adapter].weight.to("cpu", dtype).contiguous()
        out[f"{stem}.lora_up.weight"] = layer.lora_B[adapter].weight.to("cpu", dtype).contiguous()
        out[f"{stem}.alpha"] = torch.tensor(1.0, dtype=dtype)
    return out


def write(models: dict, path: str, adapter="default"):
    state = {}
    for part, model in models.items():
        state.update(dump(model, part, adapter))
    cfg = next(iter(models.values())).peft_config[adapter]
    meta = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(cfg.r),
        "ss_output_name": path.rsplit("/", 1)[-1].removesuffix(".safetensors"),
    }
    save_file(state, path, metadata=meta)
    return len(state) // 3


if __name__ == "__main__":
    import sys

    base = CLIPTextModel.from_pretrained("openai/clip-vit-large-patch14")
    te = PeftModel.from_pretrained(base, sys.argv[1])
    print(write({"text_encoder": te}, sys.argv[2]), "modules")
