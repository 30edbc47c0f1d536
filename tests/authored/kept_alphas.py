"""Alpha is kept on each path of a loader or converter."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "matrices only",
        "LS310",
        """
import torch
from safetensors.torch import load_file


def read_pairs(path):
    tensors = {k: v for k, v in load_file(path).items() if v.ndim == 2}  #!
    pairs = {}
    for k, v in tensors.items():
        stem, _, rest = k.partition(".lora_")
        pairs.setdefault(stem, {})[rest.split(".")[0]] = v
    return pairs


def bake(model, path, strength=1.0):
    modules = {n.replace(".", "_"): m for n, m in model.named_modules()}
    for stem, pair in read_pairs(path).items():
        m = modules[stem.removeprefix("lora_unet_")]
        m.weight.data += strength * pair["up"] @ pair["down"]  #!
""",
        (
            ("{k: v for k, v in load_file(path).items() if v.ndim == 2}", "load_file(path)"),
            (
                'stem, _, rest = k.partition(".lora_")',
                'stem, _, rest = k.replace(".alpha", ".lora_alpha").partition(".lora_")',
            ),
            (
                'strength * pair["up"] @ pair["down"]',
                'strength * (pair["alpha"].item() / pair["down"].shape[0] if "alpha" in pair else 1.0) * pair["up"] @ pair["down"]',
            ),
        ),
    ),
    Program(
        "third branch forgets",
        "LS113",
        """
from safetensors.torch import load_file, save_file


def to_transformer_names(source, target):
    sd = load_file(source)
    out = {}
    for stem in sorted({k.split(".")[0] for k in sd}):
        down, up = sd[f"{stem}.lora_down.weight"], sd[f"{stem}.lora_up.weight"]
        scale = sd[f"{stem}.alpha"].item() / down.shape[0]
        if stem.startswith("lora_te_"):
            name = "text_encoder." + stem[8:]
            out[f"{name}.lora_A.weight"] = down
            out[f"{name}.lora_B.weight"] = up * scale
        elif stem.startswith("lora_unet_"):
            name = "unet." + stem[10:]
            out[f"{name}.lora_A.weight"] = down
            out[f"{name}.lora_B.weight"] = up * scale
        else:
            out[f"{stem}.lora_A.weight"] = down
            out[f"{stem}.lora_B.weight"] = up  #!
    save_file(out, target)
""",
        (("= up  #!", "= up * scale"),),
    ),
    Program(
        "popped away",
        "LS310",
        """
import torch


class Patcher:
    def __init__(self, unet):
        self.layers = {"lora_unet_" + n.replace(".", "_"): m for n, m in unet.named_modules()}

    @torch.no_grad()
    def patch(self, sd, weight):
        groups = {}
        for k in list(sd):
            stem, part = k.split(".", 1)
            groups.setdefault(stem, {})[part] = sd[k]
        for stem, parts in groups.items():
            parts.pop("alpha", None)  #!
            up, down = parts["lora_up.weight"].float(), parts["lora_down.weight"].float()
            if up.ndim == 4:
                delta = (up.squeeze() @ down.squeeze())[..., None, None]
            else:
                delta = up @ down
            self.layers[stem].weight += weight * delta  #!
""",
        (
            ('parts.pop("alpha", None)  #!', 'alpha = parts.pop("alpha", None)'),
            (
                "+= weight * delta  #!",
                "+= weight * delta * (1.0 if alpha is None else alpha.item() / down.shape[0])",
            ),
        ),
    ),
    Program(
        "second encoder without",
        "LS305",
        """
from diffusers import StableDiffusionXLPipeline


def load_into(pipe, path):
    state_dict, network_alphas = StableDiffusionXLPipeline.lora_state_dict(path, unet_config=pipe.unet.config)
    pipe.load_lora_into_unet(state_dict, network_alphas=network_alphas, unet=pipe.unet)
    first = {k: v for k, v in state_dict.items() if "text_encoder." in k}
    if first:
        pipe.load_lora_into_text_encoder(first, network_alphas=network_alphas, text_encoder=pipe.text_encoder, prefix="text_encoder")
    second = {k: v for k, v in state_dict.items() if "text_encoder_2." in k}
    if second:
        pipe.load_lora_into_text_encoder(second, network_alphas=None, text_encoder=pipe.text_encoder_2, prefix="text_encoder_2")  #!
""",
        (("network_alphas=None,", "network_alphas=network_alphas,"),),
    ),
    Program(
        "npz skips",
        "LS302",
        """
import numpy as np


def npz_to_flat(src, dst):
    data = np.load(src)
    flat = {}
    for name in data.files:
        if name.endswith(".alpha"):  #!
            continue
        flat[name.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = data[name]
    np.savez(dst, **flat)
""",
        (("            continue\n", "            flat[name] = data[name]\n            continue\n"),),
    ),
    Program(
        "generator of pairs",
        "LS310",
        """
import torch


def triples(sd):
    for k, down in sd.items():
        if not k.endswith("lora_down.weight"):
            continue
        stem = k[: -len(".lora_down.weight")]
        alpha = sd.get(stem + ".alpha")
        if alpha is not None:
            print("alpha", stem, float(alpha))
        yield stem, down, sd[stem + ".lora_up.weight"]  #!


def deltas(sd):
    return {stem: up @ down for stem, down, up in triples(sd)}


def merge(model_state, sd, ratio=0.8):
    for stem, delta in deltas(sd).items():
        key = stem + ".weight"
        model_state[key] = model_state[key] + ratio * delta  #!
    return model_state
""",
        (
            (
                '        yield stem, down, sd[stem + ".lora_up.weight"]',
                '        yield stem, down, sd[stem + ".lora_up.weight"] * (float(alpha) / down.shape[0] if alpha is not None else 1.0)',
            ),
        ),
    ),
    Program(
        "split by component",
        "LS302",
        """
import torch
from safetensors.torch import load_file


def split_components(path):
    sd = load_file(path)
    unet, text = {}, {}
    for key, value in sd.items():
        if "lora_up" not in key and "lora_down" not in key:  #!
            continue
        side = text if key.startswith("lora_te") else unet
        side[key] = value
    return unet, text


def save_parts(path, out):
    unet, text = split_components(path)
    torch.save(unet, out + "/unet.pt")
    torch.save(text, out + "/text.pt")
""",
        (
            (
                '"lora_up" not in key and "lora_down" not in key',
                '"lora_up" not in key and "lora_down" not in key and "alpha" not in key',
            ),
        ),
    ),
    Program(
        "own module reload",
        "LS314",
        """
import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self, base, rank=8, alpha=8.0):
        super().__init__()
        self.base, self.rank, self.alpha = base, rank, alpha
        self.inner = nn.Linear(base.in_features, rank, bias=False)
        self.outer = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x):
        return self.base(x) + self.outer(self.inner(x)) * (self.alpha / self.rank)


def attach(model, names, rank, alpha):
    for name in names:
        owner, _, leaf = name.rpartition(".")
        parent = model.get_submodule(owner)
        setattr(parent, leaf, Branch(getattr(parent, leaf), rank, alpha))


def save(model, path):
    out = {}
    for name, m in model.named_modules():
        if isinstance(m, Branch):
            out[name] = {"inner": m.inner.weight.data, "outer": m.outer.weight.data, "rank": m.rank}  #!
    torch.save(out, path)


def load(model, path):
    for name, entry in torch.load(path).items():
        owner, _, leaf = name.rpartition(".")
        parent = model.get_submodule(owner)
        branch = Branch(getattr(parent, leaf), entry["rank"])  #!
        branch.inner.weight.data.copy_(entry["inner"])
        branch.outer.weight.data.copy_(entry["outer"])
        setattr(parent, leaf, branch)
""",
        (
            ('"rank": m.rank}', '"rank": m.rank, "alpha": m.alpha}'),
            ('entry["rank"])', 'entry["rank"], entry["alpha"])'),
        ),
    ),
)
