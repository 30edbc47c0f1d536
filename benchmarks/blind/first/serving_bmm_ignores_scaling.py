# wrong in line 19: scalings are kept and not used
import torch


class LoraBank:
    def __init__(self, adapters):
        self.lora_a, self.lora_b, self.scalings = [], [], []
        for ad in adapters:
            cfg = ad["config"]
            self.lora_a.append(ad["lora_A"])
            self.lora_b.append(ad["lora_B"])
            self.scalings.append(cfg["lora_alpha"] / cfg["r"])
        self.lora_a = torch.stack(self.lora_a)
        self.lora_b = torch.stack(self.lora_b)

    def apply(self, x, out, idx):
        a = self.lora_a[idx]
        b = self.lora_b[idx]
        return out + torch.bmm(torch.bmm(x, a.transpose(1, 2)), b.transpose(1, 2))
