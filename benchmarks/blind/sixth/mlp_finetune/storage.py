import torch


def save_checkpoint(path, model, opt, *, step, rank, alpha):
    branches = {k: v for k, v in model.state_dict().items() if ".lora_" in k}
    torch.save(
        {"branches": branches, "optimizer": opt.state_dict(), "step": step, "rank": rank, "alpha": alpha},
        path,
    )


def load_checkpoint(path):
    return torch.load(path, map_location="cpu")
