# wrong in lines 10 and 11: the table gives A the role of up and B the role of down, so dim and the written factors are exchanged
import json
import pathlib

import click
import numpy as np
from safetensors.numpy import load_file, save_file

ROLES = {
    "lora_A.weight": "lora_up.weight",
    "lora_B.weight": "lora_down.weight",
}


def flatten(module):
    module = module.removeprefix("base_model.model.")
    return "lora_unet_" + module.replace(".", "_")


def gain_of(cfg):
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise click.ClickException("adapters with patterns are not supported")
    r = cfg["r"]
    return cfg["lora_alpha"] / (r ** 0.5 if cfg.get("use_rslora") else r)


def rename(tensors):
    out = {}
    for key, value in tensors.items():
        for tail, role in ROLES.items():
            if key.endswith("." + tail):
                stem = flatten(key[: -len(tail) - 1])
                out[f"{stem}.{role}"] = np.ascontiguousarray(value)
                break
        else:
            raise click.ClickException(f"unexpected tensor {key}")
    return out


def add_alphas(out, gain):
    for key in [k for k in out if k.endswith(".lora_down.weight")]:
        stem = key[: -len(".lora_down.weight")]
        dim = out[key].shape[0]
        out[f"{stem}.alpha"] = np.array(gain * dim, dtype=np.float32)
    return out


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=pathlib.Path))
@click.argument("target", type=click.Path(path_type=pathlib.Path))
def main(folder, target):
    cfg = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    out = add_alphas(rename(tensors), gain_of(cfg))
    save_file(out, target, metadata={"ss_network_module": "networks.lora"})
    click.echo(f"{len(out) // 3} modules in {target}")


if __name__ == "__main__":
    main()
