"""Mutation score: ``python benchmarks/mutants.py [--survivors] [FOLDER ...]``.

Correct LoRA code is broken on purpose, one place at a time, and linted again. A mutant is killed if the
linter then says something that it does not say about the original. Without a folder the authored variants
in ``benchmarks/mutants/`` are taken; a folder is searched for the files that ``benchmarks/mutants.toml``
names, with the expressions that are the trained scale (or a strength that stands for it) in each of them.

``mutants.toml`` also lists the mutants that are legal code after all, and why; they are counted apart.

A mutant is wrong for sure: only multiplications by such an expression, quotients of an alpha by a rank, tests
whether alpha is None, defaults for a missing alpha, and alphas that are forwarded or written are changed.
Two conventions are left alone. "0 or None means the rank" is kohya's rule, so a test for None becomes one for
truth only where the other branch is neither the rank nor None. A default alpha is the trainer's choice, so
the default of a parameter is made constant only in functions that are given the factors as well.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from lorascale_lint.engine import lint

HERE = Path(__file__).parent
AUTHORED = HERE / "mutants"
MARKS = HERE / "mutants.toml"

_ALPHA = re.compile(r"(?i)_?(lora_|network_|conv_)?alpha(_i|_val|_value)?")
_RANK = re.compile(r"_?(lora_rank|lora_dim|sd_lora_rank|lora_r|old_rank|new_rank|rank|r|dim|shape|size)")
_FACTOR = re.compile(r"lora_?(a|A|down)(?![a-z])|(down|up)_weight")
_ALPHA_KEY = re.compile(r"""(alpha["']|alpha_key)$""")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place of one file."""

    operator: str
    row: int
    before: str
    after: str
    source: str


@dataclass(frozen=True, slots=True)
class Variant:
    """Correct code: the files of one project, and the scales in the file that is mutated."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    mutated: Path
    scales: tuple[str, ...]


def _bare(node: cst.BaseExpression) -> str:
    """Source text without parentheses around it and without spaces."""
    if hasattr(node, "lpar"):
        node = node.with_changes(lpar=[], rpar=[])
    return re.sub(r"\s+", "", cst.Module([]).code_for_node(node))


def _expression(text: str) -> cst.BaseExpression:
    return cst.parse_expression(text)


def _last_name(node: cst.BaseExpression) -> str:
    """What a scalar is called: ``alpha`` of ``float(self.alpha)``, ``r`` of ``config["r"]``."""
    match node:
        case cst.Name(value=name) | cst.Attribute(attr=cst.Name(value=name)):
            return name
        case cst.Call(func=cst.Name(value="float") | cst.Attribute(attr=cst.Name(value="sqrt")), args=[only]):
            return _last_name(only.value)
        case cst.Call(func=cst.Attribute(attr=cst.Name(value="item"), value=inner)):
            return _last_name(inner)
        case cst.Subscript(value=inner, slice=[cst.SubscriptElement(slice=cst.Index(value=key))]):
            if isinstance(key, cst.SimpleString):
                return str(key.evaluated_value).rpartition(".")[2]
            return _last_name(inner)
        case _:
            return ""


def _is_alpha(node: cst.BaseExpression) -> bool:
    return _ALPHA.fullmatch(_last_name(node)) is not None


def _is_rank(node: cst.BaseExpression) -> bool:
    return _RANK.fullmatch(_last_name(node)) is not None


class Mutations(cst.CSTVisitor):
    """Collects pairs of a node and what replaces it, by operator."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, scales: Sequence[str], defaults: set[tuple[str, str]]) -> None:
        super().__init__()
        self.scales = {_bare(_expression(text)) for text in scales}
        self.defaults = defaults
        """Callables of the file and their parameters that may be left out."""
        self.found: list[tuple[str, cst.CSTNode, cst.CSTNode]] = []
        self.loose_guards: set[int] = set()
        self.real_alphas: set[str] = set()
        """Names that the file declares, or defaults, to be no integer."""
        self.parameters: list[set[str]] = []
        """Parameters of the functions around the current place."""

    def _is_scale(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.UnaryOperation):
            return self._is_scale(node.expression)
        return _bare(node) in self.scales

    def add(self, operator: str, old: cst.CSTNode, new: cst.CSTNode) -> None:
        """Note one mutant."""
        self.found.append((operator, old, new))

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        taken = (*node.params.posonly_params, *node.params.params, *node.params.kwonly_params)
        self.parameters.append({item.name.value for item in taken})

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self.parameters.pop()

    def visit_Param(self, node: cst.Param) -> None:
        self._declared(node.name.value, node.annotation, node.default)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if isinstance(node.target, cst.Name):
            self._declared(node.target.value, node.annotation, node.value)

    def _declared(
        self, name: str, annotation: cst.Annotation | None, default: cst.BaseExpression | None
    ) -> None:
        declared = "" if annotation is None else _bare(annotation.annotation)
        if "float" in declared or isinstance(default, cst.Float):
            self.real_alphas.add(name)

    # ---- products ---------------------------------------------------------------------

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        match node.operator:
            case cst.Multiply():
                self._product(node)
            case cst.Divide() if _is_alpha(node.left) and _is_rank(node.right):
                self._quotient(node)
            case cst.Add():
                parts = self._split(node.right)
                if parts is not None:
                    delta, scale = parts
                    whole = _parenthesised(node.with_changes(right=delta, lpar=[], rpar=[]))
                    moved = cst.BinaryOperation(whole, cst.Multiply(), scale, lpar=node.lpar, rpar=node.rpar)
                    self.add("scale on the base too", node, moved)
            case _:
                pass

    def _split(self, node: cst.BaseExpression) -> tuple[cst.BaseExpression, cst.BaseExpression] | None:
        """Delta and scale of a product."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Multiply):
            if self._is_scale(node.right):
                return node.left, node.right
            if self._is_scale(node.left):
                return node.right, node.left
            parts = self._split(node.left)
            if parts is not None:
                return node.with_changes(left=parts[0]), parts[1]
        return None

    def _product(self, node: cst.BinaryOperation) -> None:
        for scale, other in ((node.right, node.left), (node.left, node.right)):
            if self._is_scale(scale):
                self.add("drop the scale", node, _parenthesised(other))
                self.add("scale twice", node, _times(node, scale))
                return

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        if isinstance(node.operator, cst.MultiplyAssign) and self._is_scale(node.value):
            self.add("drop the scale", node, cst.Pass())
            self.add("scale twice", node, node.with_changes(value=_times(node.value, node.value)))
        if isinstance(node.operator, cst.AddAssign):
            parts = self._split(node.value)
            if parts is not None and isinstance(node.target, cst.BaseExpression):
                total = cst.BinaryOperation(node.target, cst.Add(), parts[0])
                moved = cst.BinaryOperation(_parenthesised(total), cst.Multiply(), parts[1])
                self.add("scale on the base too", node, cst.Assign([cst.AssignTarget(node.target)], moved))

    def visit_Expr(self, node: cst.Expr) -> None:
        match node.value:
            case cst.Call(func=cst.Attribute(attr=cst.Name(value="mul_")), args=[only]) if self._is_scale(
                only.value
            ):
                self.add("drop the scale", node, cst.Pass())
                squared = only.with_changes(value=_times(only.value, only.value))
                self.add(
                    "scale twice", node, node.with_changes(value=node.value.with_changes(args=[squared]))
                )
            case _:
                pass

    def visit_Call(self, node: cst.Call) -> None:
        self._torch_alpha(node)
        self._forwarded(node)
        self._alpha_default(node)

    def _torch_alpha(self, node: cst.Call) -> None:
        """``torch.add(base, delta, alpha=scale)``."""
        for index, argument in enumerate(node.args):
            name = argument.keyword.value if argument.keyword else ""
            if name == "alpha" and self._is_scale(argument.value):
                kept = [item for item in node.args if item is not argument]
                self.add("drop the scale", node, node.with_changes(args=kept))
                changed = list(node.args)
                changed[index] = argument.with_changes(value=_times(argument.value, argument.value))
                self.add("scale twice", node, node.with_changes(args=changed))

    # ---- quotients --------------------------------------------------------------------

    def _quotient(self, node: cst.BinaryOperation) -> None:
        around = {"lpar": node.lpar, "rpar": node.rpar}
        self.add("invert", node, node.with_changes(left=node.right, right=_parenthesised(node.left)))
        if not isinstance(node.right, cst.Call):
            self.add("floor division", node, node.with_changes(operator=cst.FloorDivide()))
        if _last_name(node.left) in self.real_alphas:  # of an integer, int() changes nothing
            whole = cst.Call(cst.Name("int"), [cst.Arg(node.left)])
            self.add("alpha to int", node, node.with_changes(left=whole))
        raw = node.left.with_changes(**around) if node.lpar else node.left
        self.add("alpha undivided", node, raw)
        self.add("scale is 1", node, cst.Float("1.0", **around))

    # ---- state ------------------------------------------------------------------------

    def visit_BooleanOperation(self, node: cst.BooleanOperation) -> None:
        if "==0" in _bare(node):  # ``alpha is None or alpha == 0``: truthiness says the same
            self.loose_guards.update(id(part) for part in (node.left, node.right))

    def visit_Comparison(self, node: cst.Comparison) -> None:
        match node.comparisons:
            case [cst.ComparisonTarget(operator=cst.Is() | cst.IsNot() as sign, comparator=cst.Name("None"))]:
                if _is_alpha(node.left) and id(node) not in self.loose_guards:
                    truth = node.left if isinstance(sign, cst.IsNot) else _not(node.left)
                    self.add("truth of alpha", node, truth)
            case _:
                pass

    def visit_IfExp(self, node: cst.IfExp) -> None:
        if self._asks_for_alpha(node.test):
            for name, branch in (("body", node.body), ("orelse", node.orelse)):
                if _is_rank(branch) or _bare(branch) == "None":
                    self.loose_guards.add(id(node.test))
                if _is_rank(branch) and not self._is_choice(node.test):
                    self.add("constant default", node, node.with_changes(**{name: cst.Float("1.0")}))

    def visit_If(self, node: cst.If) -> None:
        if not self._asks_for_alpha(node.test):
            return
        for line in node.body.body:
            match line:
                case cst.SimpleStatementLine(body=[cst.Assign(targets=[target], value=value) as only]):
                    if not _is_alpha(target.target) or not _is_rank(value):
                        continue
                    self.loose_guards.add(id(node.test))
                    if not self._is_choice(node.test):
                        self.add("constant default", only, only.with_changes(value=cst.Float("1.0")))
                case _:
                    pass

    def _asks_for_alpha(self, node: cst.BaseExpression) -> bool:
        return isinstance(node, cst.Comparison) and _is_alpha(node.left) and "None" in _bare(node)

    def _is_choice(self, test: cst.BaseExpression) -> bool:
        """Is the alpha that is tested a parameter of a function that is not given the factors?"""
        assert isinstance(test, cst.Comparison)
        taken = self.parameters[-1] if self.parameters else set()
        return _bare(test.left) in taken and not any(map(_FACTOR.search, taken))

    # ---- forwarding, loading, exporting -------------------------------------------------

    def _forwarded(self, node: cst.Call) -> None:
        called = node.func
        if isinstance(called, cst.Attribute):
            owner = called.value
            called = owner if called.attr.value == "__init__" and isinstance(owner, cst.Name) else called.attr
        name = called.value if isinstance(called, cst.Name) else ""
        if name == "partial" and node.args and isinstance(node.args[0].value, cst.Name):
            name = node.args[0].value.value
        for argument in node.args:
            keyword = argument.keyword.value if argument.keyword else ""
            if _ALPHA.fullmatch(keyword) and (name, keyword) in self.defaults:
                kept = [item for item in node.args if item is not argument]
                self.add("alpha not forwarded", node, node.with_changes(args=kept))

    def _alpha_default(self, node: cst.Call) -> None:
        match node:
            case cst.Call(func=cst.Attribute(attr=cst.Name(value="get" | "pop")), args=[key, *rest]):
                if not _ALPHA_KEY.search(_bare(key.value)):
                    return
                if rest and _is_rank(rest[0].value):
                    self.add("alpha never read", node, rest[0].value)
                    constant = rest[0].with_changes(value=cst.Float("1.0"))
                    self.add("constant default", node, node.with_changes(args=[key, constant]))
                elif not rest and node.func.attr.value == "get":  # type: ignore[attr-defined]
                    self.add("alpha never read", node, cst.Name("None"))
            case _:
                pass

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            match target.target:
                case cst.Subscript(slice=[cst.SubscriptElement(slice=cst.Index(value=key))]):
                    if _ALPHA_KEY.search(_bare(key)):
                        self.add("alpha not written", node, cst.Pass())
                case _:
                    pass


def _parenthesised(node: cst.BaseExpression) -> cst.BaseExpression:
    if node.lpar or isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _times(left: cst.BaseExpression, right: cst.BaseExpression) -> cst.BaseExpression:
    product = cst.BinaryOperation(_parenthesised(left), cst.Multiply(), _parenthesised(right))
    return _parenthesised(product)


def _not(node: cst.BaseExpression) -> cst.BaseExpression:
    return cst.UnaryOperation(cst.Not(), node)


def _optional_parameters(module: cst.Module) -> set[tuple[str, str]]:
    """Functions and classes, each with the parameters that have a default."""
    found: set[tuple[str, str]] = set()

    def note(name: str, function: cst.FunctionDef) -> None:
        parameters = (*function.params.params, *function.params.kwonly_params)
        found.update((name, item.name.value) for item in parameters if item.default is not None)

    class Names(cst.CSTVisitor):
        def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
            note(node.name.value, node)

        def visit_ClassDef(self, node: cst.ClassDef) -> None:
            for item in node.body.body:
                if isinstance(item, cst.FunctionDef) and item.name.value == "__init__":
                    note(node.name.value, item)

    module.visit(Names())
    return found


def mutants_of(source: str, scales: Sequence[str]) -> Iterator[Mutant]:
    """Every mutant of ``source``, by place."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = Mutations(scales, _optional_parameters(wrapper.module))
    wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    for operator, old, new in visitor.found:
        changed = wrapper.module.deep_replace(old, new)
        assert isinstance(changed, cst.Module)
        text = changed.code
        compile(text, "mutant", "exec")
        row = positions[old].start.line
        before = wrapper.module.code_for_node(old).strip()
        yield Mutant(operator, row, before, wrapper.module.code_for_node(new).strip(), text)


def findings_of(variant: Variant, source: str) -> Counter[tuple[str, str]]:
    """Findings on the project of ``variant`` with ``source`` for its mutated file, without their rows."""
    with tempfile.TemporaryDirectory() as name:
        paths: list[Path] = []
        for path in variant.files:
            target = Path(name) / path.relative_to(variant.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source if path == variant.mutated else path.read_text())
            paths.append(target)
        found = lint(paths, [], cache_dir=None).findings
        return Counter((finding.code, finding.message) for finding in found)


def authored_variants() -> Iterator[Variant]:
    """The variants of this repository: single files, and folders that are a project."""
    for path in sorted(AUTHORED.rglob("*.py")):
        first = path.read_text().partition("\n")[0]
        if not first.startswith("# scale:"):
            continue
        scales = tuple(part.strip() for part in first.removeprefix("# scale:").split(" | "))
        whole = path.parent != AUTHORED
        files = tuple(sorted(path.parent.glob("*.py"))) if whole else (path,)
        yield Variant(str(path.relative_to(AUTHORED)), AUTHORED, files, path, scales)


def listed_variants(folders: Sequence[Path]) -> Iterator[Variant]:
    """The files of ``mutants.toml`` that lie in the given folders."""
    marks = {
        name: scales for name, scales in tomllib.loads(MARKS.read_text()).items() if name != "equivalent"
    }
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            fitting = [name for name in marks if path.as_posix().endswith(f"/{name}")]
            if fitting:
                name = max(fitting, key=len)
                yield Variant(name, folder, (path,), path, tuple(marks[name]))


def equivalents() -> frozenset[tuple[str, str, str]]:
    """File, operator and mutated text of the mutants that no linter could know to be wrong."""
    listed = tomllib.loads(MARKS.read_text()).get("equivalent", [])
    return frozenset((item["file"], item["operator"], item["before"]) for item in listed)


def run(title: str, variants: Sequence[Variant], show: Callable[[str], None], only: str) -> None:
    """Print the kills by operator."""
    total: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    by_file: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    legal, apart = equivalents(), 0
    for variant in variants:
        source = variant.mutated.read_text()
        before = findings_of(variant, source)
        for mutant in mutants_of(source, variant.scales):
            if only not in mutant.operator:
                continue
            if (variant.name, mutant.operator, mutant.before) in legal:
                apart += 1
                continue
            found = findings_of(variant, mutant.source) - before
            total[mutant.operator] += 1
            by_file[variant.name][1] += 1
            if found:
                killed[mutant.operator] += 1
                by_file[variant.name][0] += 1
            else:
                place = f"{variant.name}:{mutant.row}: {mutant.operator}"
                show(f"survivor: {place}: {mutant.before!r} -> {mutant.after!r}")
    for name, (kills, count) in by_file.items():
        show(f"  {kills:3} of {count:3}  {name}")
    share = 100 * killed.total() / max(total.total(), 1)
    dead = f"{killed.total()} of {total.total()} mutants killed"
    print(f"\n{title}: {dead} ({share:.1f} %), {len(variants)} files")
    if apart:
        print(f"  and {apart} that mutants.toml argues to be legal code of their own, counted apart")
    for operator in sorted(total):
        print(f"  {operator:24} {killed[operator]:3} of {total[operator]:3}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="where the files of mutants.toml lie")
    parser.add_argument("--survivors", action="store_true", help="print each mutant that was not killed")
    parser.add_argument("--file", default="", help="only variants with this in their name")
    parser.add_argument("--operator", default="", help="only operators with this in their name")
    arguments = parser.parse_args()
    show: Callable[[str], None] = print if arguments.survivors else lambda line: None
    variants = listed_variants(arguments.folders) if arguments.folders else authored_variants()
    chosen = [variant for variant in variants if arguments.file in variant.name]
    title = "listed files" if arguments.folders else "authored variants"
    run(title, chosen, show, arguments.operator)


if __name__ == "__main__":
    main()
