# silent: factors, biases and magnitudes lose the adapter name alike, the config that holds alpha goes along unchanged
"""Turn a training dump with adapter names in its keys into a PEFT folder."""
import json
import re
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

NAMED = re.compile(
    r"^(?P<stem>.+)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"\.(?P<adapter>[^.]+)(?P<tail>\.weight|\.bias)?$"
)


def strip(key, adapter):
    m = NAMED.match(key)
    if m is None or m["adapter"] != adapter:
        return None
    tail = m["tail"] or ""
    if m["kind"] == "lora_magnitude_vector":
        tail = ""
    return f"{m['stem']}.{m['kind']}{tail}"


def complete(state, cfg):
    stems = {k.rpartition(".lora_A")[0] for k in state if k.endswith(".lora_A.weight")}
    for stem in stems:
        if f"{stem}.lora_B.weight" not in state:
            raise ValueError(f"{stem} has no lora_B")
        if cfg.get("use_dora") and f"{stem}.lora_magnitude_vector" not in state:
            raise ValueError(f"{stem} has no magnitude")
    return len(stems)


def main(dump, config, folder, adapter="default"):
    state = {}
    for key, value in load_file(dump).items():
        short = strip(key, adapter)
        if short is not None:
            state[short] = value
    cfg = json.loads(Path(config).read_text())
    n = complete(state, cfg)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(config, folder / "adapter_config.json")
    print(f"{n} modules of adapter {adapter!r} in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
