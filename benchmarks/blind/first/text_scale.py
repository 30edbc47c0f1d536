# wrong in line 11: the strength of a prompt tag is applied to both factors
import re
from safetensors.torch import load_file

TAG = re.compile(r"<lora:([^:]+):([0-9.]+)>")


def adapters(prompt):
    for name, strength in TAG.findall(prompt):
        sd = load_file(f"{name}.safetensors")
        yield {k: v * float(strength) for k, v in sd.items()}


def apply(weights, adapter):
    for k in adapter:
        if k.endswith("lora_A.weight"):
            target = k.replace(".lora_A", "")
            weights[target] += adapter[k.replace("lora_A", "lora_B")] @ adapter[k]
