# wrong in line 53: modules listed in alpha_pattern were trained with their own alpha, the file gets the global lora_alpha for all of them
"""PEFT adapter folder -> single kohya-style safetensors file."""
import argparse
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


class PeftFolder:
    def __init__(self, folder):
        folder = Path(folder)
        self.config = json.loads((folder / "adapter_config.json").read_text())
        if self.config["peft_type"] != "LORA":
            raise ValueError(f"not a LoRA folder: {self.config['peft_type']}")
        if self.config.get("use_rslora") or self.config.get("use_dora"):
            raise ValueError("rsLoRA and DoRA folders are not supported")
        self.state = load_file(folder / "adapter_model.safetensors")

    def modules(self):
        suffix = ".lora_A.weight"
        for key in sorted(self.state):
            if key.endswith(suffix):
                path = key[: -len(suffix)]
                yield path, self.state[key], self.state[f"{path}.lora_B.weight"]

    def expected_rank(self, path):
        for pattern, rank in (self.config.get("rank_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", path):
                return rank
        return self.config["r"]

    def alpha(self):
        return float(self.config["lora_alpha"])


def kohya_name(path, prefix):
    path = path.removeprefix("base_model.model.")
    return prefix + "_" + path.replace(".", "_")


def convert(folder: PeftFolder, prefix, dtype):
    out = {}
    for path, down, up in folder.modules():
        rank = down.shape[0]
        if rank != folder.expected_rank(path.removeprefix("base_model.model.")):
            raise ValueError(f"{path}: rank {rank} does not match the config")
        name = kohya_name(path, prefix)
        out[f"{name}.lora_down.weight"] = down.to(dtype).contiguous()
        out[f"{name}.lora_up.weight"] = up.to(dtype).contiguous()
        out[f"{name}.alpha"] = torch.tensor(folder.alpha())
    return out


def metadata(folder: PeftFolder):
    cfg = folder.config
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(cfg["r"]),
        "ss_network_alpha": str(cfg["lora_alpha"]),
        "ss_base_model": cfg.get("base_model_name_or_path") or "",
    }


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("out")
    ap.add_argument("--prefix", default="lora_unet")
    ap.add_argument("--half", action="store_true")
    args = ap.parse_args()
    folder = PeftFolder(args.folder)
    state = convert(folder, args.prefix, torch.float16 if args.half else torch.float32)
    save_file(state, args.out, metadata=metadata(folder))
    print(f"{len(state) // 3} modules")


if __name__ == "__main__":
    main()
