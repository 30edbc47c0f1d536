# wrong in line 8: the pattern only removes the adapter name after lora_A and lora_B, the magnitude keys stay unread and DoRA layers are folded as plain ones
"""Fold a raw PeftModel.state_dict() dump without building the model."""
import re
import sys

from safetensors.torch import load_file, save_file

ADAPTER = re.compile(r"\.lora_([AB])\.\w+\.weight$")


def squash(key):
    key = key.removeprefix("base_model.model.")
    return ADAPTER.sub(r".lora_\1", key)


def combine(weight, a, b, gain, magnitude):
    direction = weight.float() + gain * (b.float() @ a.float())
    if magnitude is None:
        return direction
    return direction * (magnitude.float() / direction.norm(dim=1)).unsqueeze(1)


def fold(dump, gain):
    flat = {squash(k): v for k, v in dump.items()}
    out = {}
    for key, value in flat.items():
        if key.endswith(".base_layer.weight"):
            stem = key.removesuffix(".base_layer.weight")
            if f"{stem}.lora_A" in flat:
                value = combine(
                    value,
                    flat[f"{stem}.lora_A"],
                    flat[f"{stem}.lora_B"],
                    gain,
                    flat.get(f"{stem}.lora_magnitude_vector"),
                ).to(value.dtype)
            out[f"{stem}.weight"] = value
        elif key.endswith(".base_layer.bias"):
            out[key.replace(".base_layer.", ".")] = value
        elif ".lora_" not in key:
            out[key] = value
    return out


if __name__ == "__main__":
    source, target, alpha, rank = sys.argv[1:5]
    dump = load_file(source)
    merged = fold(dump, float(alpha) / int(rank))
    save_file(merged, target)
    n = sum(k.endswith(".base_layer.weight") for k in dump)
    print(f"{len(merged)} tensors, {n} of them adapted")
