# silent: the settings of the checkpoint replace the defaults before the layers are built, and the same settings are saved again
"""Continue adapter training of a classifier from the last snapshot."""
import dataclasses
import json
import pathlib

import torch
from torch import nn


@dataclasses.dataclass
class AdapterSettings:
    rank: int = 8
    alpha: float = 8.0
    layers: tuple = ("fc1", "fc2")

    @classmethod
    def read(cls, folder):
        raw = json.loads((folder / "settings.json").read_text())
        raw["layers"] = tuple(raw["layers"])
        return cls(**raw)

    def write(self, folder):
        (folder / "settings.json").write_text(json.dumps(dataclasses.asdict(self)))


class Adapter(nn.Module):
    def __init__(self, host, settings):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.down = nn.Linear(host.in_features, settings.rank, bias=False)
        self.up = nn.Linear(settings.rank, host.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.settings = settings

    def forward(self, x):
        s = self.settings
        return self.host(x) + self.up(self.down(x)).mul(s.alpha).div(s.rank)


def prepare(model, settings, folder):
    folder = pathlib.Path(folder)
    resume = (folder / "adapter.pt").exists()
    if resume:
        settings = AdapterSettings.read(folder)
    for name in settings.layers:
        setattr(model, name, Adapter(getattr(model, name), settings))
    if resume:
        missing, unexpected = model.load_state_dict(torch.load(folder / "adapter.pt"), strict=False)
        assert not unexpected
    return settings


def snapshot(model, settings, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings.write(folder)
    trained = {k: v for k, v in model.state_dict().items() if ".down." in k or ".up." in k}
    torch.save(trained, folder / "adapter.pt")
