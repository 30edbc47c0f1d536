"""The frame of every HTML report: one page, no scripts, nothing from elsewhere, light or dark as the system.

What is wrong is told by weight, frame and words, never by colour alone: a black-and-white print has it too.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_STYLE = """\
:root { color-scheme: light dark; --page: #ffffff; --ink: #18181b; --line: #71717a; --soft: #ececee;
  --wrong: #9b1c1c; --wrong-ink: #ffffff; --quiet: #52525b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #18181b; --ink: #f4f4f5; --line: #a1a1aa; --soft: #3f3f46;
    --wrong: #fca5a5; --wrong-ink: #18181b; --quiet: #c4c4cc; }
}
body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.25rem; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.wide th[scope=row] { position: sticky; left: 0; background: var(--page); }
code { overflow-wrap: anywhere; }
td code { overflow-wrap: normal; }
a, summary { color: inherit; }
:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
table { border-collapse: collapse; margin-top: 1rem; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: center; white-space: nowrap; }
th[scope=row] { text-align: left; font-weight: normal; }
td.text { text-align: left; white-space: normal; min-width: 16rem; font-size: .9em; }
td.wrong { background: var(--wrong); color: var(--wrong-ink); font-weight: 700;
  border: 3px solid var(--ink); }
td.nothing { background: var(--soft); }
td.none { color: var(--quiet); font-style: italic; }
figure { margin: 1rem 0; max-width: 60rem; }
figcaption { font-size: .9em; }
svg { width: 100%; height: auto; overflow: visible; }
summary { cursor: pointer; margin-top: 1rem; }
@media (max-width: 40rem) {
  body { margin: 1rem; }
  th, td { padding: .2rem .35rem; font-size: .9em; white-space: normal; }
  th[scope=row] { min-width: 6rem; overflow-wrap: anywhere; }
  figure text { font-size: 22px; }
  figure circle { r: 6px; }
}
@page { size: landscape; margin: 1cm; }
@media print {
  body { font-size: 9px; margin: 0; }
  .wide { overflow: visible; }
  th, td { white-space: normal; padding: .2rem .3rem; }
  td { white-space: nowrap; }
  :root { --page: #ffffff; --ink: #000000; --line: #000000; --wrong: #ffffff; --wrong-ink: #000000;
    --quiet: #000000; --soft: #ffffff; }
  td.wrong { border-width: 4px; text-decoration: underline; }
}
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole page; `title` is text, `body` are lines of HTML that go below it."""
    heading = html.escape(title)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{heading}</title>",
            f"<style>\n{_STYLE}</style></head>",
            f"<body><h1>{heading}</h1>",
            *body,
            "</body></html>",
            "",
        ]
    )
