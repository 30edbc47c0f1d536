# wrong in line 10: int() truncates alpha
from safetensors.torch import load_file


def rank_alpha(path):
    sd = load_file(path)
    dims, alphas = {}, {}
    for k, v in sd.items():
        if k.endswith(".alpha"):
            alphas[k[:-6]] = int(v.item())
        elif "lora_down" in k:
            dims[k.split(".lora_down")[0]] = v.shape[0]
    return dims, alphas


def scales(path):
    dims, alphas = rank_alpha(path)
    return {k: alphas.get(k, dims[k]) / dims[k] for k in dims}
