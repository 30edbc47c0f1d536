"""The trained scale as an expression of a class: what it has already, or a new property."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import insert_method, is_annotated
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.sources.loc import Loc

_NAMES = ("lora_scale", "lora_scaling", "lora_alpha_scale")


def family_scale(ledger: Ledger, family: Family, rewrites: Rewrites) -> str | None:
    """``self.<name>`` for the trained scale of a family of classes, or None if it can't be known.

    Adds a property computed from alpha and rank where the classes have nothing of the kind. The
    property is 1.0 while alpha or rank is None: the format's meaning of a missing alpha.
    """
    alpha, rank = family.field(ALPHA), family.field(RANK)
    if family.scale_source is not None or alpha is None or rank is None or family.scaling is not None:
        return family.scale_source
    root = family.root
    name = next((name for name in _NAMES if name not in family.names(ledger)), None)
    if name is None or any(kept.how == "entry" for kept in (*alpha.kept, *rank.kept)):
        return None
    rewrite = rewrites.of(root.file.filename)
    place = loc_of(root.file, root.node)
    after = "__init__" if "__init__" in root.methods else ""
    return _property(rewrite, place, after, name, alpha.name, rank.name)


def _property(rewrite: Rewrite, place: Loc, after: str, name: str, alpha: str, rank: str) -> str | None:
    """Add the property to the class at ``place``, behind the method called ``after``."""
    found = rewrite.enclosing(place, cst.ClassDef)
    if found is None:
        return None
    node, loc = found
    hinted = any(
        isinstance(item, cst.FunctionDef) and is_annotated(item)
        for item in cst.ensure_type(node, cst.ClassDef).body.body
    )
    source = (
        "@property\n"
        f"def {name}(self){' -> float' if hinted else ''}:\n"
        '    """Trained scale of the adapter: alpha / rank, 1.0 without an alpha."""\n'
        f"    if self.{alpha} is None or self.{rank} is None:\n"
        "        return 1.0\n"
        f"    return self.{alpha} / self.{rank}\n"
    )
    config = rewrite.module.config_for_parsing
    rewrite.change(
        loc,
        cst.ClassDef,
        lambda cls: insert_method(cst.ensure_type(cls, cst.ClassDef), after, source, config),
    )
    return f"self.{name}"
