"""The errors of each layer with LongCat's adapter, by how it is scaled: `benchmarks/longcat_mse.py TREE...`

Makes an adapter like LongCat's distilled one (alpha 64, rank 128, bfloat16), has `verify --adapter` put it
through the FastVideo in each TREE, and prints mean squared differences from the trained model as Markdown.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import longcat_adapter

from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row

SEED = 11
# Two blocks of a transformer of hidden size 1024, out x in, with names that FastVideo's Wan model has.
SHAPES = {
    f"blocks.{block}.{name}": shape
    for block in range(2)
    for name, shape in {
        "to_q": (1024, 1024),
        "to_k": (1024, 1024),
        "to_v": (1024, 1024),
        "to_out": (1024, 1024),
        "ffn.fc_in": (2048, 1024),
        "ffn.fc_out": (1024, 2048),
    }.items()
}
COLUMNS = ("base", "unscaled", "scaled")


def cells(row: Row) -> list[str]:
    """The errors of one layer."""
    return [f"{row.mse[name]:.3g}" if row.mse else "-" for name in (*COLUMNS, "loaded")]


def mean(rows: tuple[Row, ...], name: str) -> float:
    """The mean over the layers."""
    return sum(row.mse[name] for row in rows if row.mse) / len(rows)


def main(trees: list[Path]) -> None:
    """Print one table for each tree."""
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "longcat_like.safetensors"
        longcat_adapter.write(adapter, SHAPES)
        for tree in trees:
            report = run_verify(tree, seed=SEED, dtype="bfloat16", adapter=adapter)
            if report.problem is not None:
                sys.exit(report.problem.message)
            print(f"\n### {report.target.name} {report.target.version} ({report.target.framework})\n")
            print("| layer | expected | observed | base | unscaled | scaled | loaded | verdict |")
            print("|---|---|---|---|---|---|---|---|")
            for row in report.rows:
                numbers = [f"{row.expected:g}", f"{row.observed:.4f}", *cells(row)]
                print(f"| {row.layer} | {' | '.join(numbers)} | {row.verdict} |")
            base = mean(report.rows, "base")
            means = {name: mean(report.rows, name) for name in (*COLUMNS, "loaded")}
            print(f"| mean | | | {' | '.join(f'{value:.3g}' for value in means.values())} | |")
            print(f"| beside the base | | | {' | '.join(f'{v / base:.3g}' for v in means.values())} | |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
