# wrong in line 34: the magnitude is divided by the norm of W + B A, training used the norm of W + s B A
"""Inference for DoRA adapters without PEFT: loads a folder and replaces the linears."""
import argparse
import json
import logging
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

log = logging.getLogger("dora")


def scaling_from(config):
    r, alpha = config["r"], config["lora_alpha"]
    return alpha / r**0.5 if config.get("use_rslora") else alpha / r


class DoraLinear(nn.Module):
    def __init__(self, base: nn.Linear, a, b, magnitude, scaling):
        super().__init__()
        self.base = base
        self.register_buffer("a", a.to(base.weight.device, base.weight.dtype))
        self.register_buffer("b", b.to(base.weight.device, base.weight.dtype))
        self.register_buffer("magnitude", magnitude.to(base.weight.device, torch.float32))
        self.scaling = scaling
        self.register_buffer("ratio", self._ratio().to(base.weight.dtype), persistent=False)

    @torch.no_grad()
    def _ratio(self):
        weight = self.base.weight.float()
        direction = weight + self.b.float() @ self.a.float()
        return self.magnitude / torch.linalg.norm(direction, dim=1)

    def forward(self, x):
        plain = nn.functional.linear(x, self.base.weight)
        low = (x @ self.a.t()) @ self.b.t() * self.scaling
        y = self.ratio * (plain + low)
        if self.base.bias is not None:
            y = y + self.base.bias
        return y


def attach(model, folder):
    folder = Path(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    if not config.get("use_dora"):
        raise SystemExit("this is not a DoRA adapter")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        raise SystemExit("per-module ranks and alphas are not supported")
    weights = load_file(folder / "adapter_model.safetensors")
    scaling = scaling_from(config)
    n = 0
    for key in sorted(weights):
        if not key.endswith(".lora_A.weight"):
            continue
        prefix = key.removesuffix(".lora_A.weight")
        path = prefix.removeprefix("base_model.model.")
        parent, _, leaf = path.rpartition(".")
        owner = model.get_submodule(parent)
        layer = DoraLinear(
            getattr(owner, leaf),
            weights[key],
            weights[f"{prefix}.lora_B.weight"],
            weights[f"{prefix}.lora_magnitude_vector"],
            scaling,
        )
        setattr(owner, leaf, layer)
        n += 1
    log.info("%d DoRA layers, scaling %.3f", n, scaling)
    return model


def main():
    logging.basicConfig(level=logging.INFO)
    p = argparse.ArgumentParser()
    p.add_argument("base")
    p.add_argument("adapter")
    p.add_argument("prompt")
    p.add_argument("--max_new_tokens", type=int, default=128)
    args = p.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForCausalLM.from_pretrained(args.base, torch_dtype="auto").eval()
    attach(model, args.adapter)
    ids = tokenizer(args.prompt, return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(**ids, max_new_tokens=args.max_new_tokens)
    print(tokenizer.decode(out[0], skip_special_tokens=True))


if __name__ == "__main__":
    main()
