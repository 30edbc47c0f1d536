# wrong in line 34: the converter renames up/down keys and drops the .alpha entries on the floor
import sys

from safetensors.torch import load_file, save_file

RENAMES = {
    "self_attn_q_proj": "self_attn.q_proj",
    "self_attn_k_proj": "self_attn.k_proj",
    "self_attn_v_proj": "self_attn.v_proj",
    "self_attn_out_proj": "self_attn.out_proj",
    "mlp_fc1": "mlp.fc1",
    "mlp_fc2": "mlp.fc2",
}


def module_path(name):
    name = name.replace("lora_te_text_model_encoder_layers_", "text_model.encoder.layers.")
    for old, new in RENAMES.items():
        name = name.replace("_" + old, "." + new)
    return name


def convert(state_dict):
    converted = {}
    unknown = []
    for key, value in state_dict.items():
        name, _, kind = key.partition(".")
        path = module_path(name)
        if kind == "lora_down.weight":
            converted[f"text_encoder.{path}.lora_A.weight"] = value
        elif kind == "lora_up.weight":
            converted[f"text_encoder.{path}.lora_B.weight"] = value
        elif kind == "alpha":
            continue
        else:
            unknown.append(key)
    return converted, unknown


if __name__ == "__main__":
    src, dst = sys.argv[1:3]
    out, left = convert(load_file(src))
    if left:
        print(f"{len(left)} keys not understood: {left[:5]}")
    save_file(out, dst, metadata={"format": "pt"})
