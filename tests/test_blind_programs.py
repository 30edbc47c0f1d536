"""Programs of ``benchmarks/blind`` that corrected a mechanism: found, and silent once mended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lorascale_lint.engine import lint

PROGRAMS = Path(__file__).parents[1] / "benchmarks" / "blind"


@dataclass(frozen=True, slots=True)
class Case:
    """A program, the one finding that is right, and what has to be replaced for none to be right."""

    program: str
    code: str
    row: int
    edits: tuple[tuple[str, str], ...]


CASES = (
    Case(
        "fourth/strength_guard",
        "LS224",
        23,
        (("saved[name] = module.scaling", "saved[name] = dict(module.scaling)"),),
    ),
    Case(
        "fourth/keras_text",
        "LS314",
        38,
        (("            rank=self.rank,", "            rank=self.rank,\n            alpha=self.alpha,"),),
    ),
    Case(
        "fourth/peft_to_kohya",
        "LS412",
        36,
        (
            (
                'self.config.get("use_rslora")',
                'self.config.get("use_rslora") or self.config.get("alpha_pattern")',
            ),
        ),
    ),
    Case(
        "fifth/grid_sampler",
        "LS501",
        51,
        (("strength = network_alpha / network_dim", "strength = 0.8 if network_alpha else 1.0"),),
    ),
    Case(
        "fifth/patch_with_backup",
        "LS109",
        21,
        (
            (
                "            self.backup[path] =",
                "            if path not in self.backup:\n                self.backup[path] =",
            ),
        ),
    ),
    Case(
        "fifth/slot_buffers",
        "LS412",
        27,
        (('self.cfg.get("alpha_pattern")', 'self.cfg.get("alpha_pattern") or self.cfg.get("rank_pattern")'),),
    ),
    Case(
        "fifth/fold_hub_adapter",
        "LS412",
        25,
        (('raw.get("use_dora")', 'raw.get("use_dora") or raw.get("alpha_pattern")'),),
    ),
    Case("fifth/tensor_parallel_loader", "LS401", 17, (("use_rs_lora", "use_rslora"),)),
    Case(
        "fifth/two_encoder_pipeline_load",
        "LS305",
        42,
        (("            None,\n", "            network_alphas,\n"),),
    ),
    Case("fifth/temporary_style", "LS221", 38, (("overlay.take_off(net)", "overlay.take_off(net, weight)"),)),
    Case(
        "fifth/flax_text_classifier",
        "LS227",
        38,
        (("AdaptedDense(self.width, self.rank)", "AdaptedDense(self.width, self.rank, self.rank)"),),
    ),
    Case("fifth/gradio_strength_slider", "LS222", 19, (("self.scale *= value", "self.scale = value"),)),
    Case(
        "fifth/persona_mixer",
        "LS502",
        40,
        (("layer.scaling[name] = w", "layer.scaling[name] *= w"),),
    ),
    Case(
        "fifth/two_pass_merge",
        "LS208",
        46,
        (
            ("append((target, up, down))", "append((target, up, down, scale))"),
            ("up, down in pairs", "up, down, scale in pairs"),
        ),
    ),
    Case("fifth/tts_voice_loader", "LS207", 13, (("self.FALLBACK_ALPHA if", "low.shape[0] if"),)),
    Case(
        "fifth/vocabulary_extension",
        "LS101",
        42,
        (("weight += (self.Q", "weight += self.coef * (self.Q"),),
    ),
    Case("fifth/delta_and_diff_merger", "LS127", 40, (("common * value.float()", "value.float()"),)),
    Case(
        "second/fold_into_base",
        "LS107",
        31,
        (('alpha=cfg["lora_alpha"]', 'alpha=cfg["lora_alpha"] / cfg["r"]'),),
    ),
    Case("first/alpha_int", "LS204", 10, (("int(v.item())", "float(v.item())"),)),
    Case(
        "first/serving_bmm_ignores_scaling",
        "LS119",
        19,
        (("out + torch.bmm(", "out + self.scalings[idx] * torch.bmm("),),
    ),
    Case(
        "first/resize_svd_keeps_alpha",
        "LS308",
        21,
        (('".alpha"] = alpha', '".alpha"] = alpha * new_rank / down.shape[0]'),),
    ),
    Case("second/fuse_branches", "LS308", 24, (("alphas.pop())", "alphas.pop() * len(stems))"),)),
    Case(
        "second/stack_two",
        "LS308",
        29,
        (('"] = first[name + ".alpha"].clone()', '"] = a1 * (d1.shape[0] + d2.shape[0]) / d1.shape[0]'),),
    ),
    Case(
        "second/walk_state",
        "LS208",
        26,
        (("        elif alpha is None:", "        else:"),),
    ),
    Case(
        "second/switcher",
        "LS221",
        35,
        (("        self.multiplier = value", "        self.unmerge()\n        self.multiplier = value"),),
    ),
    Case(
        "first/none_alpha",
        "LS241",
        9,
        (("lora_alpha / rank", "1.0 if lora_alpha is None else lora_alpha / rank"),),
    ),
    Case(
        "first/hotswap_scaling",
        "LS242",
        12,
        (("            m.scale_layer(w)\n    return", "            m.unscale_layer(w)\n    return"),),
    ),
    Case(
        "second/adapter_manager",
        "LS307",
        41,
        (
            (
                "self.up[name](self.down[name](x)) * s",
                "self.up[name](self.down[name](x)) * self.scaling[name]",
            ),
        ),
    ),
    Case(
        "first/moe_experts",
        "LS102",
        22,
        (('"br,bor->bo", h, b)', '"br,bor->bo", h, b) * self.scaling'),),
    ),
    Case("second/stack_loader_node", "LS118", 38, (("* factor * strength_model", "* factor"),)),
    Case(
        "second/delta_cache",
        "LS240",
        33,
        (
            (
                "(adapter, strength)\n            return self._cache[adapter]",
                "(adapter, 1.0)\n            made = self._cache[adapter]\n"
                "            return {n: d * strength for n, d in made.items()}",
            ),
        ),
    ),
    Case("second/network_patch", "LS120", 26, (("return self.up.shape[0]", "return self.down.shape[0]"),)),
    Case("second/conv_delta", "LS120", 44, (("rank = down.shape[1]", "rank = down.shape[0]"),)),
    Case("first/double_forward_scale", "LS121", 16, ((" * self.scale)\n", ")\n"),)),
    Case("first/mlx_fuse", "LS105", 24, (("weight + (self.", "weight + self.scale * (self."),)),
    Case("first/partial_delta", "LS108", 17, (("lora_delta(up, down)\n", "lora_delta(up, down, scale)\n"),)),
    Case("first/two_multipliers", "LS118", 22, (("+= multiplier * block", "+= block"),)),
    Case(
        "first/conv_branch_unscaled",
        "LS113",
        19,
        (("unsqueeze(2).unsqueeze(3)\n", "unsqueeze(2).unsqueeze(3) * scale\n"),),
    ),
    Case("first/sqrt_wrong", "LS121", 15, (("lora_alpha / r / math.sqrt(r)", "lora_alpha / math.sqrt(r)"),)),
    Case("first/rank_wrong_axis", "LS120", 13, (("up.size(0)", "down.size(0)"),)),
    Case(
        "first/jax_lora",
        "LS119",
        19,
        (("jnp.dot(p.a, p.b)", "jnp.dot(p.a, p.b) * (p.alpha / p.a.shape[1])"),),
    ),
    Case(
        "first/loop_leftover",
        "LS208",
        9,
        (('        if f"{name}.alpha" in sd:', '        scale = 1.0\n        if f"{name}.alpha" in sd:'),),
    ),
    Case("second/slot_bank", "LS121", 33, (("copy_(b * factor)", "copy_(b)"),)),
    Case(
        "first/flag_not_forwarded",
        "LS409",
        20,
        (("r=o.lora_rank,", "use_rslora=o.use_rslora, r=o.lora_rank,"),),
    ),
    Case(
        "first/fsdp_export", "LS311", 16, (("torch.tensor(args.lora_rank)", "torch.tensor(args.lora_alpha)"),)
    ),
    Case("first/gguf_convert", "LS311", 21, (("16.0", 'params["lora_alpha"] * (not params["use_rslora"])'),)),
    Case("first/comfy_patch", "LS301", 17, (("(up, down, None,", '(up, down, lora[f"{x}.alpha"].item(),'),)),
    Case(
        "second/gguf_writer",
        "LS401",
        35,
        (
            (
                'config["lora_alpha"])',
                'config["lora_alpha"]) * (config["r"] ** 0.5 if kind == "rslora" else 1.0)',
            ),
        ),
    ),
    Case("second/render", "LS501", 35, (("[config.lora_alpha / config.r]", "[1.0]"),)),
    Case(
        "second/write_adapter",
        "LS227",
        43,
        (('"r": layer.r,', '"r": layer.r,\n        "lora_alpha": layer.alpha,'),),
    ),
    Case(
        "second/continue_training",
        "LS227",
        37,
        (("rank=down.shape[0])", 'rank=down.shape[0], alpha=float(blob[f"{name}.alpha"]))'),),
    ),
    Case(
        "first/unfuse_diff_strength",
        "LS109",
        26,
        (("def unfuse(self, loras)", "def unfuse(self, loras, strength)"), ("-= self", "-= strength * self")),
    ),
    Case(
        "third/webui_network_lora",
        "LS207",
        17,
        (("else 1.0", 'else parts["lora_down.weight"].shape[0]'),),
    ),
    Case(
        "third/train_gpt_config", "LS206", 37, (("cfg.rank, dropout", "cfg.rank, cfg.alpha, cfg.dropout or"),)
    ),
    Case("third/peft_finetune_cli", "LS206", 24, (("lora_alpha=args.lora_r", "lora_alpha=args.lora_alpha"),)),
    Case(
        "third/peft_loader_patterns",
        "LS412",
        42,
        (
            ("alpha = cfg[", 'alpha = match_pattern(cfg["alpha_pattern"], name, cfg['),
            ('"]\n        branch', '"])\n        branch'),
        ),
    ),
    Case(
        "third/jax_train_export",
        "LS128",
        46,
        (("spec.alpha / spec.rank", "spec.alpha / math.sqrt(spec.rank)"),),
    ),
    Case(
        "third/keras_lora_dense",
        "LS101",
        39,
        (("self.lora_b)\n        self.original", "self.lora_b) * self._scale\n        self.original"),),
    ),
    Case(
        "third/comfy_lora_node_two_strengths",
        "LS117",
        43,
        (("new_clip.add_patches(patches, strength_model)", "new_clip.add_patches(patches, strength_clip)"),),
    ),
    Case("third/resize_lora", "LS308", 28, (("alpha.clone()", "torch.tensor(float(len(new_down)))"),)),
    Case("third/concat_adapters", "LS317", 36, (('= loaded[0][0]["lora_alpha"]', '= new_cfg["r"]'),)),
    Case("fourth/bake_export", "LS317", 48, (("torch.tensor(alpha,", "torch.tensor(float(rank),"),)),
    Case(
        "third/scale_scheduler",
        "LS222",
        28,
        (
            ("for layer in self.layers:", "for layer, start in zip(self.layers, self.initial):"),
            ("*= weight", "= start * weight"),
        ),
    ),
    Case(
        "third/weighted_adapter",
        "LS114",
        34,
        (
            ("factor = weight * ", "factor = (weight * "),
            ("[name]\n            self.lora_A[new]", "[name]) ** 0.5\n            self.lora_A[new]"),
        ),
    ),
    Case("fourth/blend_np", "LS114", 36, (("return down * self.weight", "return down"),)),
    Case(
        "third/comfy_lora_node",
        "LS240",
        42,
        (
            ("if path not in self._patches", "if (path, strength) not in self._patches"),
            ("self._patches[path] =", "self._patches[path, strength] ="),
        ),
    ),
    Case(
        "fourth/comfy_cached_lora",
        "LS240",
        79,
        (
            (
                "os.path.getmtime(path))\n        hit",
                "os.path.getmtime(path), strength_model, strength_clip)\n        hit",
            ),
        ),
    ),
    Case(
        "fourth/rank_study",
        "LS402",
        59,
        (('"bias": "none",', '"bias": "none",\n        "use_rslora": True,'),),
    ),
)


def findings(text: str, folder: Path) -> set[tuple[str, int]]:
    """Codes and rows; the copy lies outside a folder of tests."""
    path = folder / "lora_program.py"
    path.write_text(text)
    return {(finding.code, finding.span.start.row) for finding in lint([path], []).findings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.program)
def test_found(case: Case, tmp_path: Path) -> None:
    text = (PROGRAMS / f"{case.program}.py").read_text()
    assert findings(text, tmp_path) == {(case.code, case.row)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.program)
def test_silent_once_corrected(case: Case, tmp_path: Path) -> None:
    text = (PROGRAMS / f"{case.program}.py").read_text()
    for old, new in case.edits:
        assert old in text
        text = text.replace(old, new)
    assert findings(text, tmp_path) == set()


@pytest.mark.parametrize("compared", ['!= cfg["r"]', '== cfg["r"]', "!= 16", '!= 2 * cfg["r"]'])
def test_other_alphas_than_the_rank_may_be_refused(compared: str, tmp_path: Path) -> None:
    text = (PROGRAMS / "third/unit_scale_merge.py").read_text()
    assert '!= cfg["r"]' in text
    text = text.replace('!= cfg["r"]', compared)
    refused = compared == '!= cfg["r"]'
    if compared.startswith("=="):
        refused = True
        text = text.replace("    if cfg[", "    if not cfg[")
    assert findings(text, tmp_path) == (set() if refused else {("LS310", 25)})
