# wrong in line 12: up.shape[0] is the output size
from safetensors.torch import load_file


def deltas(path):
    sd = load_file(path)
    for k in sorted(sd):
        if k.endswith("lora_up.weight"):
            up, down = sd[k], sd[k.replace("lora_up", "lora_down")]
            rank = up.size(0)
            alpha = sd.get(k.replace("lora_up.weight", "alpha"))
            s = float(alpha) / rank if alpha is not None else 1.0
            yield k, s * up @ down
