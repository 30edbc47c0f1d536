"""A headless Chromium, spoken to over two pipes in the DevTools protocol; no package is needed for that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next(filter(None, map(shutil.which, _NAMES)), None)
_OPTIONS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars
    --no-first-run --disable-background-networking --disable-extensions --remote-debugging-pipe""".split()
_PATIENCE = 60.0
"""Seconds for one answer: a busy machine starts a browser slowly."""
PHONE, DESK = (390, 844), (1280, 900)


class Browser:
    """One tab; `requests` are the addresses that the page of the last `open` asked for."""

    def __init__(self) -> None:
        assert EXECUTABLE, "no Chromium"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; bash puts the pipes there.
        command = [EXECUTABLE, *_OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"]
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser", *command]
        self._process = subprocess.Popen(
            shell, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._number, self._session = b"", 0, ""
        self.size = DESK
        self.requests: list[str] = []
        self._loaded = False
        (tab,) = (
            info["targetId"]
            for info in self._ask("Target.getTargets")["targetInfos"]
            if info["type"] == "page"
        )
        self._session = self._ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        os.close(self._out)  # the end of its input ends it
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def open(self, address: str, size: tuple[int, int] = DESK, *, dark: bool = False) -> None:
        """Load a page for a window of this size and a reader who has chosen light or dark."""
        width, height = self.size = size
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip
        self.requests, self._loaded = [], False
        self._ask("Page.navigate", url=address)
        until = time.monotonic() + _PATIENCE
        while not self._loaded and time.monotonic() < until:
            self._event(self._message())
        assert self._loaded, f"{address} did not load"

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def tab(self) -> None:
        """Press the Tab key."""
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def _ask(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: Mapping[str, Any] = answer["result"]
                return result
            self._event(answer)

    def _event(self, message: Mapping[str, Any]) -> None:
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True

    def _message(self) -> Mapping[str, Any]:
        while b"\0" not in self._read:
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium has ended"
            self._read += part
        line, _, self._read = self._read.partition(b"\0")
        message: Mapping[str, Any] = json.loads(line)
        return message
