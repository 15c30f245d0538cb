from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ports import free_ports

README = Path(__file__).resolve().parents[2] / "README.md"
SIGNERS = 12


@dataclass
class Demo:
    """A demo that serves on, and what its terminal has shown."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    shown: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.shown.append(line)

    def wait_for(self, pattern: str, timeout_s: float = 240) -> str:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = re.search(pattern, "".join(self.shown))
            if found:
                return found[1]
            assert self.process.poll() is None, "".join(self.shown)
            time.sleep(0.1)
        raise AssertionError("".join(self.shown))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("readme")
    port, *_ = free_ports(0, 1, 2, 3, 4, 5, 25)
    command = [sys.executable, "-u", "-m", "headcount", "demo", "--signers", str(SIGNERS)]
    process = subprocess.Popen(
        [*command, "--dir", str(folder / "demo"), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    demo = Demo(process, port, folder)
    reader = threading.Thread(target=demo.read, daemon=True)
    reader.start()
    yield demo
    process.terminate()
    process.wait(30)
    reader.join(10)
    assert process.stdout is not None
    process.stdout.close()


def transcript() -> list[tuple[str, list[str]]]:
    """(command, output lines) of the README's transcript."""
    text = README.read_text("utf-8").partition("<!-- replayed by")[2]
    block: list[str] = []
    for line in text.splitlines()[1:]:
        if line.startswith("    "):
            block.append(line[4:])
        elif line and block:
            break
    steps: list[tuple[str, list[str]]] = []
    for line in block:
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line:
            steps[-1][1].append(line)
    return steps


def shape(line: str, port: int) -> str:
    """The line with everything replaced that differs from run to run."""
    line = line.replace(str(port + 1), "8001").replace(str(port), "8000")
    line = re.sub(r"\b[0-9a-f]{64}\b", "HASH", line)
    line = re.sub(r"\b\d{4}-\d\d-\d\d\b", "DAY", line)
    return re.sub(r"(?<!localhost:)\b\d+\b", "N", line)


def test_the_transcript_is_what_the_commands_print(demo: Demo) -> None:
    scope = demo.wait_for(r"headcount prove \S+ ([0-9a-f]{64})")
    steps = transcript()
    assert len(steps) == 4
    for command, expected in steps:
        words = shlex.split(
            command.replace("SCOPE", scope).replace("localhost:8000", f"localhost:{demo.port}")
        )
        assert words[0] == "headcount"
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=demo.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        typed = ""
        if words[1] == "prove":
            typed = demo.wait_for(r"Your code: (\d{8})")
        output, _ = process.communicate(typed + "\n", timeout=60)
        # What a person types is not echoed by a pipe: the prompt and the next line run together.
        if typed:
            prompt = f"code from the mail of localhost:{demo.port + 1}: "
            output = output.replace(prompt, f"{prompt}{typed}\n")
        assert process.returncode == 0, output
        shown = [shape(line, demo.port) for line in output.splitlines()]
        assert shown == [shape(line, 8000) for line in expected], command
