# wrong in line 36: scalings are folded into the concatenated A, yet the written lora_alpha is that of the first config instead of the new rank
import json
from pathlib import Path

import click
import torch
from safetensors.torch import load_file, save_file


def read(folder):
    cfg = json.loads((Path(folder) / "adapter_config.json").read_text())
    for option in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern"):
        if cfg.get(option):
            raise click.ClickException(f"{folder}: {option} is not supported")
    return cfg, load_file(Path(folder) / "adapter_model.safetensors")


@click.command()
@click.argument("folders", nargs=-1, required=True)
@click.option("--weight", "-w", "weights", multiple=True, type=float)
@click.option("--out", type=click.Path(file_okay=False), required=True)
def main(folders, weights, out):
    if len(weights) != len(folders):
        raise click.BadParameter("one --weight per adapter")
    loaded = [read(f) for f in folders]
    result = {}
    for key in loaded[0][1]:
        if key.endswith("lora_A.weight"):
            parts = [sd[key] * (w * cfg["lora_alpha"] / cfg["r"])
                     for (cfg, sd), w in zip(loaded, weights)]
            result[key] = torch.cat(parts, dim=0)
        elif key.endswith("lora_B.weight"):
            result[key] = torch.cat([sd[key] for _, sd in loaded], dim=1)
    new_cfg = dict(loaded[0][0])
    new_cfg["r"] = sum(cfg["r"] for cfg, _ in loaded)
    new_cfg["lora_alpha"] = loaded[0][0]["lora_alpha"]
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    save_file(result, target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(new_cfg, indent=2))


if __name__ == "__main__":
    main()
