"""A real browser that a test drives as a visitor does: Chromium's DevTools protocol over pipes.

https://chromedevtools.github.io/devtools-protocol: JSON messages that end in a zero byte; the
browser reads them from file descriptor 3 and writes to 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")
PATIENCE = 60.0
"""Seconds for an answer of the browser."""
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe"),
)
VIRTUAL_KEYS = {"Backspace": 8, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


class Page:
    """A tab that shows one page; what it keeps and downloads lies in a folder.

    Attributes:
        requests: Addresses that the page has asked for.
        errors: Uncaught errors of its scripts.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1400, 900)) -> None:
        self.downloads = folder / "downloads"
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._size = size
        self._profile = folder / "profile"
        self._buffer, self._number, self._session = b"", 0, None
        self._results: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> "Page":
        (read_3, self._to), (self._from, write_4) = os.pipe(), os.pipe()
        # of the shells, bash alone takes descriptors of two digits
        pipes = f'exec "$@" 3<&{read_3} 4>&{write_4}'
        options = (*OPTIONS, f"--window-size={self._size[0]},{self._size[1]}")
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                pipes,
                "bash",
                BROWSER,
                *options,
                f"--user-data-dir={self._profile}",
                "about:blank",
            ],
            pass_fds=(read_3, write_4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_3)
        os.close(write_4)
        with ExitStack() as undo:
            undo.callback(self._close)
            tabs = self._ask("Target.getTargets")["targetInfos"]
            tab = next(tab["targetId"] for tab in tabs if tab["type"] == "page")
            attached = self._ask("Target.attachToTarget", targetId=tab, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                self._ask(f"{domain}.enable")
            self._ask(
                "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads)
            )
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()

    def visit(self, path: Path, fragment: str = "") -> None:
        """Open a file; a page that is open already is loaded anew."""
        self._ask("Page.navigate", url="about:blank")
        self._ask("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.until("location.protocol === 'file:' && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript, as JSON."""
        found = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until JavaScript is true, and return its value."""
        return self._until(lambda: self.value(expression), expression)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            code = VIRTUAL_KEYS[key]
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        found = json.dumps(selector)
        box = self.value(f"document.querySelector({found}).getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def type(self, text: str) -> None:
        """Enter text where the focus is."""
        self._ask("Input.insertText", text=text)

    def downloaded(self, name: str) -> Path:
        """Wait for a download."""
        path = self.downloads / name
        self._until(path.is_file, f"no download {name}")
        return path

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _until(self, check: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := check()):
            assert time.monotonic() < end, what
            time.sleep(0.02)
        return found

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while self._number not in self._results:
            assert select.select([self._from], [], [], max(0, end - time.monotonic()))[0], method
            part = os.read(self._from, 65536)
            assert part, f"the browser ended during {method}"
            *messages, self._buffer = (self._buffer + part).split(b"\0")
            for received in map(json.loads, messages):
                self._take(received)
        answer = self._results.pop(self._number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _take(self, received: dict[str, Any]) -> None:
        if "id" in received:
            self._results[received["id"]] = received
        elif received["method"] == "Network.requestWillBeSent":
            self.requests.append(received["params"]["request"]["url"])
        elif received["method"] == "Runtime.exceptionThrown":
            self.errors.append(str(received["params"]["exceptionDetails"]))

    def _close(self) -> None:
        os.close(self._to)  # the end of its pipe ends the browser
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._from)
