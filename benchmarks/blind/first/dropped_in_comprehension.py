# wrong in line 8: comprehension keeps only lora_A/lora_B keys of a kohya-like file with alpha
from safetensors.torch import load_file, save_file


def strip(path, out, prefix="transformer."):
    sd = load_file(path)
    alphas = {k: v for k, v in sd.items() if k.endswith(".alpha")}
    sd = {prefix + k: v for k, v in sd.items() if "lora_A" in k or "lora_B" in k}
    print(f"{len(sd)} factors, {len(alphas)} alphas")
    save_file(sd, out)
