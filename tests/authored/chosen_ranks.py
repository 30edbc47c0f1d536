"""A rank that is chosen, and its alpha left."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "kohya export one",
        "LS311",
        '''
import torch
from safetensors.torch import save_file


def export(network, path):
    """`network.layers` maps a name to a layer with lora_down, lora_up, alpha and rank."""
    sd = {}
    for name, layer in network.layers.items():
        flat = "lora_unet_" + name.replace(".", "_")
        sd[flat + ".lora_down.weight"] = layer.lora_down.weight.detach().half()
        sd[flat + ".lora_up.weight"] = layer.lora_up.weight.detach().half()
        sd[flat + ".alpha"] = torch.tensor(1.0)  #!
    save_file(sd, path)
''',
        (("torch.tensor(1.0)", "torch.tensor(float(layer.alpha))"),),
    ),
    Program(
        "missing alpha is one",
        "LS207",
        """
import torch


def scale_of(sd, stem):
    alpha = sd.get(stem + ".alpha", torch.tensor(1.0))  #!
    return alpha.item() / sd[stem + ".lora_down.weight"].shape[0]


def merge(model, sd):
    for name, m in model.named_modules():
        if name + ".lora_down.weight" in sd:
            m.weight.data += scale_of(sd, name) * sd[name + ".lora_up.weight"] @ sd[name + ".lora_down.weight"]
""",
        (
            (
                '    alpha = sd.get(stem + ".alpha", torch.tensor(1.0))',
                '    if stem + ".alpha" not in sd:\n        return 1.0\n    alpha = sd[stem + ".alpha"]',
            ),
        ),
    ),
    Program(
        "three ranks one alpha",
        "LS308",
        '''
import torch


def fuse_qkv(sd, stem):
    """q, k and v adapters become one block-diagonal adapter of three times the rank."""
    downs = [sd[f"{stem}.{n}.lora_down.weight"] for n in ("q", "k", "v")]
    ups = [sd[f"{stem}.{n}.lora_up.weight"] for n in ("q", "k", "v")]
    return {
        f"{stem}.qkv.lora_down.weight": torch.cat(downs, dim=0),
        f"{stem}.qkv.lora_up.weight": torch.block_diag(*ups),
        f"{stem}.qkv.alpha": sd[f"{stem}.q.alpha"],  #!
    }


def convert(sd, stems):
    out = {}
    for stem in stems:
        out.update(fuse_qkv(sd, stem))
    return out
''',
        (('sd[f"{stem}.q.alpha"],', '3 * sd[f"{stem}.q.alpha"],'),),
    ),
    Program(
        "hydra omits alpha",
        "LS227",
        """
import hydra
from omegaconf import DictConfig
from peft import LoraConfig, get_peft_model


@hydra.main(config_path="conf", config_name="train", version_base=None)
def main(cfg: DictConfig):
    model = hydra.utils.instantiate(cfg.model)
    peft_config = LoraConfig(r=cfg.lora.rank, target_modules=list(cfg.lora.targets), lora_dropout=cfg.lora.dropout)  #!
    model = get_peft_model(model, peft_config)
    hydra.utils.instantiate(cfg.trainer, model=model).train()
""",
        (("r=cfg.lora.rank,", "r=cfg.lora.rank, lora_alpha=cfg.lora.alpha,"),),
        "medium",
    ),
)
