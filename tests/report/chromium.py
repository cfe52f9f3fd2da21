"""A headless Chromium for tests, driven over a pipe: no package and no port is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_DUPFD_CLOEXEC, fcntl
from pathlib import Path
from typing import Any, BinaryIO

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One page. Messages of the DevTools protocol are JSON, each with a zero byte after it."""

    def __init__(self, to_browser: BinaryIO, from_browser: BinaryIO) -> None:
        self._write, self._read = to_browser, from_browser
        self._id, self._session = 0, ""
        self.log: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                return answer["result"]
            self.log.append(answer)

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser is gone"
            data += byte
        return json.loads(data)

    def open(self, page: Path, hash: str = "") -> None:
        """Loads the page anew and waits for its script."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{page.as_uri()}{hash}")
        end = time.monotonic() + 60
        while self.run("document.documentElement?.dataset.ready") != "yes":
            assert time.monotonic() < end, self.events("Runtime.exceptionThrown")
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        codes = {"ArrowLeft": 37, "ArrowRight": 39, "Escape": 27}
        more = {"windowsVirtualKeyCode": codes[key]} if key in codes else text
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def settle(self) -> None:
        """Two frames later what was asked for is on the screen."""
        self.run("new Promise((res) => requestAnimationFrame(() => requestAnimationFrame(res)))")

    def screenshot(self, file: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))

    def events(self, method: str) -> list[dict[str, Any]]:
        return [entry["params"] for entry in self.log if entry.get("method") == method]


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """A fresh browser that ends with the block."""
    read_there, write_here = os.pipe()
    read_here, write_there = os.pipe()
    # The browser reads from descriptor 3 and writes to 4: the pipes must not be these themselves.
    high_read, high_write = (fcntl(end, F_DUPFD_CLOEXEC, 10) for end in (read_there, write_there))
    nowhere = [(os.POSIX_SPAWN_OPEN, out, os.devnull, os.O_WRONLY, 0) for out in (1, 2)]
    pipes = [(os.POSIX_SPAWN_DUP2, high_read, 3), (os.POSIX_SPAWN_DUP2, high_write, 4)]
    command = [
        *(str(PROGRAM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--remote-debugging-pipe", "--hide-scrollbars", "--window-size=1440,900"),
        *(f"--user-data-dir={profile}", *flags),
    ]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[*nowhere, *pipes])
    for end in (read_there, write_there, high_read, high_write):
        os.close(end)
    with os.fdopen(write_here, "wb", 0) as writer, os.fdopen(read_here, "rb") as reader:
        try:
            one = Browser(writer, reader)
            yield one
            one.call("Browser.close")
        finally:
            writer.close()  # the browser ends when its pipe does
            os.waitpid(process, 0)
