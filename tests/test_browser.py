"""What the program draws, in a real browser: light, dark, on a phone, by keyboard, without a network."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import DESK, EXECUTABLE, PHONE, Browser
from tests.documents import write_examples

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")

REPORTS = ("check.html", "map.html", "inspect.html", "matrix.html")
VIEWS = [
    pytest.param(DESK, False, id="light"),
    pytest.param(DESK, True, id="dark"),
    pytest.param(PHONE, False, id="phone"),
    pytest.param(PHONE, True, id="dark-phone"),
]

# Text whose contrast with what is behind it is below 4.5 to 1, the bound of WCAG 2.2 for text of this size.
_PALE = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => parts(colour).slice(0, 3).map(c => c / 255).map(
    c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4
  ).reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ['STYLE', 'SCRIPT', 'TITLE'].includes(node.tagName)) continue;
    if (!node.checkVisibility()) continue;
    const [one, two] = [light(getComputedStyle(node).color), light(behind(node))].sort();
    if ((two + .05) / (one + .05) < 4.5) found.add(walker.currentNode.data.trim().slice(0, 60));
  }
  return [...found];
})()"""
# What a person can do something with, or has to scroll to see all of it. Of a group of radio buttons Tab
# reaches the chosen one, and the arrows the others.
_CONTROLS = """(() => [...document.querySelectorAll('*')].filter(node => {
  if (!node.checkVisibility({visibilityProperty: true})) return false;
  if (node.matches('[hidden], [tabindex="-1"], [type=radio]:not(:checked)')) return false;
  if (node.matches('a[href], summary, button, input, select, textarea')) return true;
  const wide = node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX == 'auto';
  return wide && node != document.documentElement && node != document.body;
}))()"""
# Where the focus is: the number of the control, or -1, and whether it is seen (a radio button by its label, a
# field by its caret); null at the end of the page.
_NAME = "node => node.outerHTML.slice(0, 120)"
_REACHED = """(() => {
  const node = document.activeElement;
  if (node == document.body || VISITED.has(node)) return null;
  VISITED.add(node);
  const style = getComputedStyle(node.type == 'radio' ? node.nextElementSibling : node);
  const seen = node.type == 'text' || style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 1;
  return [CONTROLS.indexOf(node), seen, node.outerHTML.slice(0, 120)];
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each kind, of the examples in the tutorials."""
    folder: Path = tmp_path_factory.mktemp("drawn")
    for page in ("start", "too-strong", "adapters"):
        write_examples(ROOT / "docs" / f"{page}.md", folder)
    commands = {
        "check.html": ("--no-cache", "--output-format", "html", "."),
        "map.html": ("map", "--output-format", "html", "."),
        "map.svg": ("map", "--output-format", "svg", "."),
        "inspect.html": ("inspect", "--output-format", "html", "video.safetensors"),
    }
    subprocess.run([sys.executable, "make_adapter.py"], cwd=folder, check=True)
    for name, arguments in commands.items():
        command = [sys.executable, "-m", "lorascale_lint", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        (folder / name).write_bytes(done.stdout)
    (folder / "matrix.html").write_bytes((ROOT / "docs/verification/matrix.html").read_bytes())
    return folder


def beyond_the_edge(browser: Browser) -> int:
    """By how many pixels the page is wider than its window."""
    beyond: int = browser.run("document.documentElement.scrollWidth") - browser.size[0]
    return beyond


def by_keyboard(browser: Browser) -> tuple[set[str], list[str]]:
    """Controls that the Tab key does not reach, and those where the focus is not seen."""
    script = f"window.VISITED = new Set(); (window.CONTROLS = {_CONTROLS}).map({_NAME})"
    names: list[str] = browser.run(script)
    reached, unseen = set[int](), []
    for _ in range(len(names) + 100):
        browser.tab()
        at: list[Any] | None = browser.run(_REACHED)
        if at is None:
            break
        reached.add(at[0])
        if not at[1]:
            unseen.append(at[2])
    return {name for number, name in enumerate(names) if number not in reached}, unseen


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize(("size", "dark"), VIEWS)
def test_a_report_is_read_everywhere(
    browser: Browser, drawn: Path, name: str, size: tuple[int, int], dark: bool
):
    address = (drawn / name).as_uri()
    browser.open(address, size, dark=dark)
    assert browser.requests == [address]
    assert beyond_the_edge(browser) == 0
    browser.run("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    assert browser.run(_PALE) == []
    assert beyond_the_edge(browser) == 0
    assert by_keyboard(browser) == (set(), [])


def test_what_is_marked_is_seen_without_colour(browser: Browser, drawn: Path):
    browser.open((drawn / "check.html").as_uri())
    style = "getComputedStyle(document.querySelector('mark'))"
    assert browser.run(f"[{style}.textDecorationLine, {style}.fontWeight]") == ["underline", "700"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_of_the_map(browser: Browser, drawn: Path, dark: bool):
    address = (drawn / "map.svg").as_uri()
    browser.open(address, dark=dark)
    assert browser.requests == [address]
    paper, ink = browser.run(
        "['.page', 'text'].map(name => getComputedStyle(document.querySelector(name)).fill)"
    )
    assert (paper, ink) == (
        ("rgb(24, 24, 27)", "rgb(244, 244, 245)") if dark else ("rgb(255, 255, 255)", "rgb(24, 24, 27)")
    )
    # No text is wider than the box that it stands in.
    outside = """[...document.querySelectorAll('rect:not(.page)')].filter(box => {
      const {left, right, top, bottom} = box.getBoundingClientRect();
      return [...document.querySelectorAll('text')].map(text => text.getBoundingClientRect()).some(text => {
        const begins = text.left > left && text.left < right && text.top > top && text.bottom < bottom + 2;
        return begins && text.right > right;
      });
    }).length"""
    assert browser.run(outside) == 0


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built documents, served from this machine."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("size", "dark"), VIEWS)
@pytest.mark.parametrize(
    "page", ["index", "start", "adapters", "too-strong", "rules/index", "rules/unscaled-merge"]
)
def test_the_site_is_read_everywhere(
    browser: Browser, site: str, page: str, size: tuple[int, int], dark: bool
):
    browser.open(f"{site}{page}.html", size, dark=dark)
    assert [address for address in browser.requests if not address.startswith((site, "data:", "blob:"))] == []
    assert beyond_the_edge(browser) == 0
    assert browser.run("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")


def test_the_site_by_keyboard(browser: Browser, site: str):
    browser.open(f"{site}start.html")
    lost, unseen = by_keyboard(browser)
    assert (lost, unseen) == (set(), [])
