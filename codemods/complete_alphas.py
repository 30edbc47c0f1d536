"""State the alpha of every layer under one key, wherever the formats of adapter files keep it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import is_annotated, new_statement
from lorascale_lint.codemods.whole_files import free_names
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.sources.loc import Loc

ALPHA_SUFFIX = ".lora_alpha"
_HELPER = "add_lora_alphas"
_SOURCE = '''\
def add_lora_alphas({signature}:
    """
    Add `.lora_alpha` to the layers of an adapter that state alpha under another key, or only in
    adapter_config.json or the metadata of the file.
    """
    config_path = os.path.join(os.path.dirname(path), "adapter_config.json")
    if os.path.isfile(config_path):
        with open(config_path) as f:
            config = json.load(f)
    else:
        with safe_open(path, framework="pt") as f:
            config = f.metadata() or {{}}
    for name in [key for key in state_dict if ".lora_A" in key]:
        layer, rank = name.split(".lora_A")[0], state_dict[name].shape[0]
        alpha = config.get("lora_alpha")
        if alpha is not None and str(config.get("use_rslora")).lower() == "true":
            alpha = float(alpha) * rank**0.5  # alpha / sqrt(rank)
        if layer + ".alpha_scale" in state_dict:  # alpha / rank
            alpha = state_dict[layer + ".alpha_scale"] * rank
        alpha = state_dict.get(layer + ".alpha", alpha)
        if alpha is not None and layer + ".lora_alpha" not in state_dict:
            state_dict[layer + ".lora_alpha"] = torch.tensor(float(alpha))
'''


@repair
def complete_alphas(ledger: Ledger, load: Spot) -> Fix | None:
    """``tensors = load_file(path)`` is followed by a helper that adds the ``.lora_alpha`` of every layer.

    Safe: keys that are there stay, and an alpha that equals the rank gives the scale of a missing one.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(load.file.filename)
    method = rewrite.enclosing(load.loc, cst.FunctionDef)
    if method is None or not add_alphas_at_load(rewrite, method[0], load.loc):
        return None
    return rewrites.fix("safe", "Look alpha up wherever the file may state it")


def add_alphas_at_load(rewrite: Rewrite, method: cst.FunctionDef, load: Loc) -> bool:
    """Add the helper and its call behind the statement that reads the file; False if it has no such form."""
    call = rewrite.find(load, cst.Call)
    if call is None or _HELPER in rewrite.text or not _uses_torch(rewrite):
        return False
    path = _path_read(rewrite, call)
    if path is None or not (
        _follow_assignment(rewrite, call, path) or _follow_loop(rewrite, method, call, path)
    ):
        return False
    hinted = is_annotated(method)
    signature = "state_dict: dict[str, torch.Tensor], path: str) -> None" if hinted else "state_dict, path)"
    insert_helper(rewrite, method, _SOURCE.format(signature=signature))
    _add_imports(rewrite)
    return True


def insert_helper(rewrite: Rewrite, method: cst.FunctionDef, source: str) -> None:
    """Add a function in front of ``method``, or of the class that it belongs to."""
    block = rewrite.tree.parent(method)
    owner = None if block is None else rewrite.tree.parent(block)
    place = owner if isinstance(owner, cst.ClassDef) else method
    config = rewrite.module.config_for_parsing
    rewrite.change(rewrite.positions[place], type(place), lambda node: _preceded(node, source, config))


def _preceded(
    node: cst.CSTNode, source: str, config: cst.PartialParserConfig
) -> cst.FlattenSentinel[cst.CSTNode]:
    assert isinstance(node, cst.ClassDef | cst.FunctionDef)
    helper = cst.ensure_type(new_statement(source, config), cst.FunctionDef)
    blank = cst.EmptyLine(indent=False)
    comments = [line for line in node.leading_lines if line.comment is not None]
    return cst.FlattenSentinel(
        [
            helper.with_changes(leading_lines=[blank, blank]),
            node.with_changes(leading_lines=[blank, blank, *comments]),
        ]
    )


def _follow_assignment(rewrite: Rewrite, call: cst.Call, path: str) -> bool:
    """``tensors = load_file(path)`` is followed by the call of the helper."""
    assign = rewrite.tree.parent(call)
    match assign:
        case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=tensors))], value=value) if (
            value is call
        ):
            pass
        case _:
            return False
    line = rewrite.tree.parent(assign)
    assert isinstance(line, cst.SimpleStatementLine | cst.SimpleStatementSuite)
    if isinstance(line, cst.SimpleStatementSuite):
        return False
    added = _statement(rewrite, f"{_HELPER}({tensors}, {path})")
    rewrite.change(
        rewrite.positions[line], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, added])
    )
    return True


def _follow_loop(rewrite: Rewrite, method: cst.FunctionDef, call: cst.Call, path: str) -> bool:
    """``for key, tensor in load_file(path).items():`` goes through a local instead, behind the helper."""
    around = list(rewrite.tree.ancestors(call))[:3]
    names = free_names(rewrite, method, "state_dict")
    match around:
        case [
            cst.Attribute(attr=cst.Name(value="items")),
            cst.Call(args=[]) as items,
            cst.For(iter=iterable) as loop,
        ]:
            if iterable is not items or names is None:
                return False
        case _:
            return False
    (name,) = names
    added = [
        _statement(rewrite, f"{name} = {rewrite.code(call)}"),
        _statement(rewrite, f"{_HELPER}({name}, {path})"),
    ]
    rewrite.replace(call, cst.Name(name))
    rewrite.change(rewrite.positions[loop], cst.For, lambda node: _led_by(node, added))
    return True


def _statement(rewrite: Rewrite, text: str) -> cst.SimpleStatementLine:
    found = new_statement(text + "\n", rewrite.module.config_for_parsing)
    return cst.ensure_type(found, cst.SimpleStatementLine)


def _path_read(rewrite: Rewrite, call: cst.Call) -> str | None:
    """Source of the path in ``load_file(path)`` of safetensors."""
    path = call.args[0] if call.args else None
    if rewrite.code(call.func).rpartition(".")[2] != "load_file" or "safetensors" not in rewrite.text:
        return None
    if path is None or path.keyword is not None or path.star:
        return None
    return rewrite.code(path.value) if isinstance(path.value, cst.Name | cst.Attribute) else None


def _uses_torch(rewrite: Rewrite) -> bool:
    """Are the tensors torch's?"""
    return "safetensors.torch" in rewrite.text or any(
        "torch" in _imported(line) for line in _import_lines(rewrite)
    )


def _import_lines(rewrite: Rewrite) -> Sequence[cst.SimpleStatementLine]:
    return [
        line
        for line in rewrite.module.body
        if isinstance(line, cst.SimpleStatementLine) and isinstance(line.body[0], cst.Import | cst.ImportFrom)
    ]


def _imported(line: cst.SimpleStatementLine) -> set[str]:
    """Names that the imports of a line bind."""
    aliases: list[cst.ImportAlias] = []
    for part in line.body:
        if isinstance(part, cst.Import | cst.ImportFrom) and not isinstance(part.names, cst.ImportStar):
            aliases += part.names
    names = set()
    for alias in aliases:
        bound = alias.asname.name if alias.asname is not None else alias.name
        names.add(bound.value if isinstance(bound, cst.Name) else "")
    return names


def _add_imports(rewrite: Rewrite) -> None:
    """Import what the helper needs: modules first, and `safe_open` beside the other names of safetensors."""
    lines = _import_lines(rewrite)
    bound = {name for line in lines for name in _imported(line)}
    first = next(line for line in lines if not _is_future(line))
    reader = next(
        line for line in lines if "load_file" in _imported(line) or "safetensors" in rewrite.code(line)
    )
    wanted = [("json", first), ("os", first), ("torch", reader)]
    added: dict[cst.SimpleStatementLine, list[cst.SimpleStatementLine]] = {first: [], reader: []}
    for name, line in wanted:
        if name not in bound:
            added[line].append(_statement(rewrite, f"import {name}"))
    if "safe_open" not in bound:
        added[reader].append(_statement(rewrite, "from safetensors import safe_open"))
    for line, new in added.items():
        if new:
            rewrite.change(rewrite.positions[line], cst.SimpleStatementLine, partial(_led_by, new=new))


def _is_future(line: cst.SimpleStatementLine) -> bool:
    part = line.body[0]
    return (
        isinstance(part, cst.ImportFrom)
        and isinstance(part.module, cst.Name)
        and part.module.value == "__future__"
    )


def _led_by(
    node: cst.CSTNode, new: Sequence[cst.BaseCompoundStatement | cst.SimpleStatementLine]
) -> cst.FlattenSentinel[cst.CSTNode]:
    """Statements in front of ``node``, whose comments and blank lines then stand above the first of them."""
    assert isinstance(node, cst.SimpleStatementLine | cst.For)
    head, *rest = new
    return cst.FlattenSentinel(
        [head.with_changes(leading_lines=node.leading_lines), *rest, node.with_changes(leading_lines=[])]
    )
