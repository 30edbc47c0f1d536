# wrong in line 27: when a module has no alpha entry the value of the previously handled module is used
import logging
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

log = logging.getLogger("bake")


def bake(base, factors, strength):
    alpha = None
    touched = 0
    for key, down in factors.items():
        if not key.endswith("lora_down.weight"):
            continue
        stem = key[: -len(".lora_down.weight")]
        target = stem.replace("lora_unet__", "").replace("__", ".") + ".weight"
        if target not in base:
            log.warning("skip %s", stem)
            continue
        up = factors[stem + ".lora_up.weight"]
        dim = down.shape[0]
        if stem + ".alpha" in factors:
            alpha = factors[stem + ".alpha"].item()
        elif alpha is None:
            alpha = dim
        mult = strength * alpha / dim
        w = base[target]
        base[target] = (w.float() + mult * (up.float() @ down.float())).to(w.dtype)
        touched += 1
    return touched


def main(recipe_path):
    recipe = yaml.safe_load(Path(recipe_path).read_text())
    base = load_file(recipe["base"])
    for item in recipe["adapters"]:
        n = bake(base, load_file(item["path"]), float(item.get("strength", 1.0)))
        log.info("%s: %d modules", item["path"], n)
    save_file(base, recipe["output"])


if __name__ == "__main__":
    import sys

    logging.basicConfig(level=logging.INFO)
    with torch.no_grad():
        main(sys.argv[1])
