# wrong in line 19: set_strength multiplies the stored scale in place, moving the slider twice compounds
import functools

import gradio as gr
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer


class Residual(nn.Module):
    def __init__(self, host, u, v, alpha):
        super().__init__()
        self.host = host
        self.register_buffer("u", u)
        self.register_buffer("v", v)
        self.scale = alpha / v.shape[0]

    def set_strength(self, value):
        self.scale *= value

    def forward(self, x):
        y = self.host(x)
        r = (x.to(self.v.dtype) @ self.v.T) @ self.u.T
        return y + (self.scale * r).to(y.dtype)


def install(model, path):
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, item in saved.items():
        head, _, tail = name.rpartition(".")
        parent = model.get_submodule(head)
        setattr(parent, tail, Residual(getattr(parent, tail), item["u"], item["v"], item["alpha"]))
    return [m for m in model.modules() if isinstance(m, Residual)]


def reply(model, tok, residuals, prompt, strength):
    for r in residuals:
        r.set_strength(strength)
    ids = tok(prompt, return_tensors="pt").input_ids
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=120, do_sample=True, temperature=0.7)
    return tok.decode(out[0][ids.shape[1]:], skip_special_tokens=True)


def launch(base, path):
    tok = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    residuals = install(model, path)
    gr.Interface(
        fn=functools.partial(reply, model, tok, residuals),
        inputs=[gr.Textbox(lines=4), gr.Slider(0.1, 2.0, value=1.0, step=0.1, label="strength")],
        outputs="text",
    ).launch()


if __name__ == "__main__":
    import sys

    launch(sys.argv[1], sys.argv[2])
