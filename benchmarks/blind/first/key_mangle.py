# wrong in line 13: .alpha keys become _alpha
from safetensors.torch import load_file, save_file


def rename(src, dst):
    sd = load_file(src)
    new = {}
    for k, v in sd.items():
        nk = k.replace("diffusion_model.", "lora_unet_")
        head, _, tail = nk.partition(".lora_")
        nk = head.replace(".", "_") + (".lora_" + tail if tail else "")
        nk = nk.replace("lora_A", "lora_down").replace("lora_B", "lora_up")
        new[nk] = v
    save_file(new, dst)
