# silent: the scale argument of this LoRALinear is a direct multiplier, alpha / rank is the right thing to hand over
import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten
from mlx_lm import load
from mlx_lm.tuner.lora import LoRALinear


def convert(model, rank, alpha, dropout, n_layers, keys):
    model.freeze()
    for block in model.layers[-n_layers:]:
        swapped = []
        for path, mod in block.named_modules():
            if path in keys and isinstance(mod, nn.Linear):
                swapped.append((path, LoRALinear.from_base(mod, r=rank, dropout=dropout, scale=alpha / rank)))
        from mlx.utils import tree_unflatten

        block.update_modules(tree_unflatten(swapped))
    return model


def write_config(folder, rank, alpha, dropout, n_layers, keys):
    config = {
        "fine_tune_type": "lora",
        "num_layers": n_layers,
        "lora_parameters": {
            "rank": rank,
            "scale": alpha / rank,
            "dropout": dropout,
            "keys": sorted(keys),
        },
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=4))


def main(path, folder, rank=16, alpha=32.0, dropout=0.0, n_layers=8):
    keys = {"self_attn.q_proj", "self_attn.v_proj"}
    model, tok = load(path)
    convert(model, rank, alpha, dropout, n_layers, keys)
    write_config(folder, rank, alpha, dropout, n_layers, keys)
    trainable = tree_flatten(model.trainable_parameters())
    print(f"{sum(v.size for _, v in trainable) / 1e6:.2f}M")
    mx.save_safetensors(str(Path(folder) / "adapters.safetensors"), dict(trainable))
    return model, tok, optim.Adam(learning_rate=1e-5)


if __name__ == "__main__":
    import sys

    main(sys.argv[1], sys.argv[2])
