"""Python trees of public repositories: ``python benchmarks/trees.py REPOSITORIES.jsonl MIRROR FOLDER``

``REPOSITORIES.jsonl`` has ``repo`` and ``rev`` in each line, ``MIRROR`` holds bare git repositories as
``OWNER+NAME/repo``. Writes the Python files of each revision below ``FOLDER/OWNER+NAME``, once.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from pathlib import Path


def git(mirror: Path, repo: str, *arguments: str, given: bytes = b"") -> bytes:
    """What a git command prints. Raises FileNotFoundError: no such repository, revision or file."""
    command = ["git", "--git-dir", str(mirror / repo.replace("/", "+") / "repo"), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode:
        raise FileNotFoundError(f"{repo}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def extract(mirror: Path, repo: str, rev: str, folder: Path) -> int:
    """Write the Python files of a revision below ``folder``; how many there are. Raises FileNotFoundError.

    Links are left out, and so is what the mirror has not: a snapshot may lack large files.
    """
    entries = git(mirror, repo, "ls-tree", "-r", "-z", "--full-tree", rev).split(b"\0")
    wanted: dict[bytes, list[Path]] = {}
    for entry in entries:
        head, _, name = entry.partition(b"\t")
        if name.endswith(b".py") and head.startswith(b"100"):
            wanted.setdefault(head.split()[2], []).append(folder / os.fsdecode(name))
    answers = io.BytesIO(git(mirror, repo, "cat-file", "--batch", given=b"\n".join(wanted) + b"\n"))
    count = 0
    for line in answers:
        blob, *kind = line.split()
        if kind[:1] != [b"blob"]:
            continue
        text = answers.read(int(kind[1]))
        answers.read(1)
        for path in wanted[blob]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            count += 1
    return count


def main() -> int:
    """Extract what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("mirror", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    missing = 0
    for row in map(json.loads, options.repositories.read_text().splitlines()):
        target = options.folder / row["repo"].replace("/", "+")
        if target.exists():
            continue
        try:
            print(f"{row['repo']}: {extract(options.mirror, row['repo'], row['rev'], target)} files")
        except FileNotFoundError as error:
            missing += 1
            print(f"not there: {error}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
