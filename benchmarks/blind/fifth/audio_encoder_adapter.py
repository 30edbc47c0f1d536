# wrong in line 15: floor division: alpha 8 at rank 16 gives 0, alpha 24 at rank 16 gives 1
import pytorch_lightning as pl
import torch
from torch import nn
from transformers import WhisperModel


class SideBranch(nn.Module):
    def __init__(self, width_in, width_out, rank, alpha):
        super().__init__()
        self.first = nn.Linear(width_in, rank, bias=False)
        self.second = nn.Linear(rank, width_out, bias=False)
        nn.init.normal_(self.first.weight, std=rank ** -0.5)
        nn.init.zeros_(self.second.weight)
        self.coef = alpha // rank

    def forward(self, x):
        return self.second(self.first(x)) * self.coef


class AudioClassifier(pl.LightningModule):
    def __init__(self, base="openai/whisper-tiny", classes=12, rank=16, alpha=24, lr=1e-4):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = WhisperModel.from_pretrained(base).encoder
        self.encoder.requires_grad_(False)
        self.branches = nn.ModuleList()
        for layer in self.encoder.layers:
            for proj in (layer.self_attn.q_proj, layer.self_attn.v_proj):
                self._hook(proj, rank, alpha)
        self.head = nn.Linear(self.encoder.config.d_model, classes)

    def _hook(self, proj, rank, alpha):
        branch = SideBranch(proj.in_features, proj.out_features, rank, alpha)
        self.branches.append(branch)
        proj.register_forward_hook(lambda mod, args, out: out + branch(args[0]))

    def forward(self, features):
        hidden = self.encoder(features).last_hidden_state
        return self.head(hidden.mean(dim=1))

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self(batch["features"]), batch["label"])
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, _):
        hit = (self(batch["features"]).argmax(-1) == batch["label"]).float().mean()
        self.log("acc", hit, prog_bar=True)

    def configure_optimizers(self):
        params = [*self.branches.parameters(), *self.head.parameters()]
        return torch.optim.AdamW(params, lr=self.hparams.lr)
