# wrong in lines 36 and 43: alpha is a plain float that state_dict does not hold; restore() builds the layers with alpha = rank
import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file


class LoRAConv(nn.Module):
    def __init__(self, conv: nn.Conv2d, rank: int, alpha: float):
        super().__init__()
        self.conv = conv
        self.alpha = float(alpha)
        self.rank = rank
        self.lora_down = nn.Conv2d(conv.in_channels, rank, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.lora_up = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, x):
        return self.conv(x) + self.lora_up(self.lora_down(x)) * (self.alpha / self.rank)


def convs(model):
    for name, m in model.named_modules():
        if isinstance(m, nn.Conv2d) and "lora_" not in name:
            yield name, m


def install(model, rank, alpha):
    for name, conv in list(convs(model)):
        head, _, leaf = name.rpartition(".")
        owner = model.get_submodule(head) if head else model
        setattr(owner, leaf, LoRAConv(conv, rank, alpha))
    return model


def dump(model, path):
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if "lora_" in k}
    save_file(tensors, path, metadata={"format": "pt"})


def restore(model, path):
    tensors = load_file(path)
    rank = next(v.shape[0] for k, v in tensors.items() if "lora_down" in k)
    install(model, rank, alpha=rank)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    return model


def trunk(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))


if __name__ == "__main__":
    net = install(trunk(), rank=4, alpha=1.0)
    dump(net, "conv_adapter.safetensors")
    restore(trunk(), "conv_adapter.safetensors")
