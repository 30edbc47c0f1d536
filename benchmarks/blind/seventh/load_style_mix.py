# wrong in line 39: the files are visited in sorted order, the weights come in the order of the config, so a weight can go to another file
"""Load a mix of style files described by a YAML file.

    styles:
      watercolor: 0.8
      anime: 0.3
"""
import argparse
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file


def read_mix(path):
    spec = yaml.safe_load(Path(path).read_text())
    return dict(spec["styles"])


def deltas(sd):
    for key, down in sd.items():
        if key.endswith(".lora_down.weight"):
            name = key[: -len(".lora_down.weight")]
            alpha = float(sd.get(name + ".alpha", down.shape[0]))
            yield name, sd[name + ".lora_up.weight"].float() @ down.float() * (alpha / down.shape[0])


class StyleMixer:
    def __init__(self, folder):
        self.folder = Path(folder)

    def load(self, names):
        return [load_file(self.folder / f"{n}.safetensors") for n in names]

    def total(self, mix):
        total = {}
        files = self.load(sorted(mix))
        for sd, weight in zip(files, mix.values()):
            for name, delta in deltas(sd):
                total[name] = total.get(name, 0) + float(weight) * delta
        return total


@torch.no_grad()
def apply(model, total, prefix="lora_unet_"):
    for name, module in model.named_modules():
        delta = total.get(prefix + name.replace(".", "_"))
        if delta is not None:
            module.weight += delta.to(module.weight.dtype)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("mix")
    ns = ap.parse_args()
    print(len(StyleMixer(ns.folder).total(read_mix(ns.mix))))
