"""A stopwatch inside the pages: from a click to the picture of what it leads to, across changes of site.

The page's own clock says when the click came and when the frame with the awaited element was on the screen:
what the debugger needs to look for elements is not counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

# Runs before anything else in every document; the bindings say it to us, also from a page that is being left.
_SCRIPT = """(() => {
  const at = () => performance.timeOrigin + performance.now();
  addEventListener("click", (event) => {
    if (event.isTrusted) stopwatch(JSON.stringify(["click", performance.timeOrigin + event.timeStamp]));
  }, true);
  const seek = @@SEEK@@;
  const there = new Set();
  const look = () => {
    for (const [name, selector, text] of seek) {
      const found = document.querySelector(selector);
      const isThere = found !== null && found.textContent.includes(text);
      if (!isThere) there.delete(name);
      else if (!there.has(name)) {
        there.add(name);
        requestAnimationFrame(() => setTimeout(() => stopwatch(JSON.stringify([name, at()]))));
      }
    }
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
})()"""


class Stopwatch:
    """Milliseconds between a click and what is then shown, in one page of the browser."""

    def __init__(self, page: Any, session: Any, seek: dict[str, tuple[str, str]]) -> None:
        """seek: by name a selector, and a text that must stand in what it finds."""
        self._page = page
        self._said: list[tuple[str, float]] = []
        session.send("Runtime.enable")
        session.send("Runtime.addBinding", {"name": "stopwatch"})
        session.on("Runtime.bindingCalled", self._hear)
        rows = [[name, selector, text] for name, (selector, text) in seek.items()]
        page.add_init_script(_SCRIPT.replace("@@SEEK@@", json.dumps(rows)))

    def until(self, name: str, act: Callable[[], object]) -> float:
        """From the last click that the act makes to the frame that shows what has this name."""
        self._said.clear()
        act()
        deadline = time.monotonic() + 20
        while not (shown := [at for what, at in self._said if what == name]):
            assert time.monotonic() < deadline, name
            self._page.wait_for_timeout(20)  # in the driver: asks the page nothing
        return shown[0] - max(at for what, at in self._said if what == "click" and at <= shown[0])

    def _hear(self, called: dict[str, Any]) -> None:
        if called["name"] == "stopwatch":
            what, at = json.loads(called["payload"])
            self._said.append((what, at))
