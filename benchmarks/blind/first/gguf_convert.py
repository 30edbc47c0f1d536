# wrong in line 21: writes adapter.lora.alpha as a fixed number
import json
import sys
from pathlib import Path
import gguf
from safetensors.torch import load_file

folder = Path(sys.argv[1])
params = json.loads((folder / "adapter_config.json").read_text())
tensors = load_file(folder / "adapter_model.safetensors")
writer = gguf.GGUFWriter("out.gguf", "llama")
writer.add_string("general.type", "adapter")
writer.add_string("adapter.type", "lora")
pairs = {}
for name, t in tensors.items():
    base, which = name.rsplit(".lora_", 1)
    pairs.setdefault(base, {})[which[0]] = t
for base, ab in pairs.items():
    writer.add_tensor(base + ".lora_a", ab["A"].numpy())
    writer.add_tensor(base + ".lora_b", ab["B"].numpy())
writer.add_float32("adapter.lora.alpha", 16.0)
writer.write_header_to_file()
