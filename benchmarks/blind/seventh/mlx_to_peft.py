# wrong in line 33: mlx's scale is the multiplier itself, PEFT divides lora_alpha by r, so lora_alpha must be scale * rank
"""Convert an mlx-lm adapter folder into a PEFT adapter folder."""
import json
import pathlib
import re

import click
import numpy as np
from safetensors.numpy import load_file, save_file

KEY = re.compile(r"^(?P<module>.+)\.lora_(?P<which>[ab])$")


def convert_weights(weights):
    """mlx keeps a as (in, r) and b as (r, out); PEFT keeps the transposes."""
    out = {}
    for key, array in weights.items():
        m = KEY.match(key)
        if m is None:
            raise click.ClickException(f"unexpected key {key}")
        letter = m["which"].upper()
        out[f"base_model.model.{m['module']}.lora_{letter}.weight"] = np.ascontiguousarray(array.T)
    return out


def convert_config(mlx_config, modules):
    lora = mlx_config["lora_parameters"]
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": mlx_config.get("model"),
        "r": lora["rank"],
        "lora_alpha": lora["scale"],
        "lora_dropout": lora.get("dropout", 0.0),
        "target_modules": sorted({m.rsplit(".", 1)[-1] for m in modules}),
        "bias": "none",
        "use_rslora": False,
    }


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=pathlib.Path))
@click.argument("target", type=click.Path(path_type=pathlib.Path))
def main(source, target):
    weights = load_file(source / "adapters.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    modules = {KEY.match(k)["module"] for k in weights}
    target.mkdir(parents=True, exist_ok=True)
    save_file(convert_weights(weights), target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(convert_config(config, modules), indent=2))


if __name__ == "__main__":
    main()
