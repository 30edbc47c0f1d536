"""Draw what `lorascale-lint` prints for the example of docs/start.md, as an SVG.

python scripts/screenshot.py docs/assets/finding.svg

Needs rich.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.documents import write_examples  # noqa: E402 (not installed)


def main(out: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        write_examples(ROOT / "docs" / "start.md", Path(folder))
        command = [sys.executable, "-m", "lorascale_lint", "pkg/layer.py", "--no-cache"]
        environment = {**os.environ, "FORCE_COLOR": "1", "PYTHONPATH": ""}
        printed = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    console = Console(record=True, width=102, file=io.StringIO())
    console.print(Text("$ lorascale-lint pkg/layer.py", style="bold"))
    console.print(Text.from_ansi(printed.stdout))
    picture = console.export_svg(title="lorascale-lint", theme=DIMMED_MONOKAI, unique_id="finding")
    out.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))  # nothing is loaded


if __name__ == "__main__":
    main(Path(sys.argv[1]))
