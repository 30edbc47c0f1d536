# wrong in line 50: the layers are rebuilt with the scale of the command line (default 20) although the adapter's own scale is in its adapter_config.json
"""Generate text with an mlx model and a LoRA adapter trained by our tuner."""
import argparse
import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm import generate, load


class LoRALinear(nn.Module):
    @staticmethod
    def from_base(linear, rank, scale, dropout=0.0):
        out_dims, in_dims = linear.weight.shape
        if isinstance(linear, nn.QuantizedLinear):
            in_dims = in_dims * 32 // linear.bits
        layer = LoRALinear(in_dims, out_dims, rank, scale, dropout)
        layer.linear = linear
        return layer

    def __init__(self, in_dims, out_dims, rank, scale, dropout):
        super().__init__()
        bound = 1 / math.sqrt(in_dims)
        self.scale = scale
        self.dropout = nn.Dropout(p=dropout)
        self.lora_a = mx.random.uniform(low=-bound, high=bound, shape=(in_dims, rank))
        self.lora_b = mx.zeros(shape=(rank, out_dims))

    def __call__(self, x):
        y = self.linear(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return y + (self.scale * z).astype(x.dtype)


def find_layers(model, config):
    blocks = model.layers[-config["num_layers"]:]
    for block in blocks:
        for name, module in block.named_modules():
            if name in config["lora_parameters"]["keys"]:
                yield block, name, module


def attach(model, folder: Path, scale: float):
    config = json.loads((folder / "adapter_config.json").read_text())
    params = config["lora_parameters"]
    for block, name, module in list(find_layers(model, config)):
        layer = LoRALinear.from_base(module, params["rank"], scale)
        block.update_modules(tree_unflatten([(name, layer)]))
    weights = list(mx.load(str(folder / "adapters.safetensors")).items())
    model.load_weights(weights, strict=False)
    model.eval()
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mlx-community/Llama-3.2-1B-Instruct-4bit")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--scale", type=float, default=20.0, help="LoRA scale")
    args = parser.parse_args()

    model, tokenizer = load(args.model)
    attach(model, args.adapter, args.scale)
    messages = [{"role": "user", "content": args.prompt}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    print(generate(model, tokenizer, prompt=prompt, max_tokens=args.max_tokens))


if __name__ == "__main__":
    main()
