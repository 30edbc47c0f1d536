# wrong in line 35: the writer stores ss_network_alpha, the reader asks for network_alpha and gets the rank as default
import json
from dataclasses import asdict, dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save_file


@dataclass
class TrainArgs:
    network_dim: int = 16
    network_alpha: float = 8.0
    network_module: str = "networks.lora"
    output_name: str = "last"

    def metadata(self):
        meta = {f"ss_{k}": str(v) for k, v in asdict(self).items()}
        meta["ss_args"] = json.dumps({"format": 2})
        return meta


def write(path, factors, args: TrainArgs):
    tensors = {}
    for name, (down, up) in factors.items():
        tensors[f"{name}.lora_down.weight"] = down.detach().half().contiguous()
        tensors[f"{name}.lora_up.weight"] = up.detach().half().contiguous()
    save_file(tensors, path, metadata=args.metadata())


def read(path):
    with safe_open(path, framework="pt") as fh:
        meta = fh.metadata()
        dim = int(meta["ss_network_dim"])
        alpha = float(meta.get("network_alpha", dim))
        factors = {}
        for key in fh.keys():
            name, _, side = key.partition(".lora_")
            slot = 0 if side.startswith("down") else 1
            factors.setdefault(name, [None, None])[slot] = fh.get_tensor(key)
    return factors, alpha / dim


def attach(model, path, strength=1.0):
    """side branches as forward hooks, returns the handles"""
    factors, ratio = read(path)
    handles = []
    for name, (down, up) in factors.items():
        down, up = down.float(), up.float() * (strength * ratio)

        def hook(_mod, inputs, output, down=down, up=up):
            return output + (inputs[0] @ down.T) @ up.T

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    return handles
