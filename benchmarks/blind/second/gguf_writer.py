# wrong in line 35: use_rslora is ignored: the reader divides by the rank, so lora_alpha needs the factor sqrt(r)
import json
import sys
from pathlib import Path

import gguf
from safetensors.torch import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}


def tensor_name(key):
    parts = key.removeprefix("base_model.model.model.layers.").split(".")
    block, module, kind = parts[0], ".".join(parts[1:3]), parts[3]
    return f"blk.{block}.{NAMES[module]}.weight.{kind.lower()}"


def main(folder, target):
    folder = Path(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("use_dora"):
        sys.exit("DoRA adapters cannot be written")
    if config.get("alpha_pattern") or config.get("rank_pattern"):
        sys.exit("pattern adapters cannot be written")
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    kind = "rslora" if config.get("use_rslora") else "lora"
    print(f"writing a {kind} adapter, r={config['r']}")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for key, value in load_file(folder / "adapter_model.safetensors").items():
        writer.add_tensor(tensor_name(key.removesuffix(".weight")), value.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
