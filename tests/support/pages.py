"""Pages of the documentation that are carried out: their blocks of `sh`, as they stand."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.brokers import free_port
from support.paths import DOCS

_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_BROKER = "nats-server --config"
_WRAPPER = """#!/bin/sh
# What was said is kept, and the program has this process: a page that kills it kills no other.
kept="{kept}/$(date +%s%N)"
echo "$@" > "$kept.said"
mkfifo "$kept.pipe"
{{ rm "$kept.pipe"; tee -a "$kept.said"; }} < "$kept.pipe" &
exec "{program}" "$@" > "$kept.pipe"
"""


def script(page):
    """The commands of a page, which stop at the first that fails."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return "set -eu\n" + "".join(_BLOCK.findall(text))


def patched(text, diff):
    """The text with each hunk of a page's diff put in its one place."""
    for hunk in diff.split("@@\n")[1:]:
        lines = [(line[:1], line[1:]) for line in hunk.splitlines()]
        before = "\n".join(line for sign, line in lines if sign != "+")
        assert text.count(before) == 1, before
        text = text.replace(before, "\n".join(line for sign, line in lines if sign != "-"))
    return text


@dataclass(frozen=True)
class Said:
    """A command of a page, and what it printed."""

    words: list
    out: str

    @property
    def verb(self):
        """`keygen`, `agreement sign`, and so on."""
        count = 2 if self.words[0] in {"agreement", "audit", "data"} else 1
        return " ".join(self.words[:count])


class Walk:
    """A folder in which pages are carried out, one after the other."""

    def __init__(self, folder: Path, port=None):
        self.folder, self.port = folder, port or free_port()
        self.kept = folder / ".kept"
        programs = folder / ".programs"
        programs.mkdir(parents=True, exist_ok=True)
        self.kept.mkdir(exist_ok=True)
        wrapper = programs / "securefl"
        real = Path(sys.executable).with_name("securefl")
        wrapper.write_text(_WRAPPER.format(kept=self.kept, program=real))
        wrapper.chmod(0o755)
        own = f"{programs}{os.pathsep}{real.parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": own, "PORT": str(self.port)}
        self.environment |= {"OMP_NUM_THREADS": "1"}

    def carry_out(self, page, *, until=None, seconds=900):
        """Run a page's commands; of what it leaves running, nothing outlives the call."""
        text = script(page)
        text = text if until is None else text[: text.index(until)]
        process = subprocess.Popen(
            ["sh", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=seconds)
        finally:
            _end_session(process.pid)
        assert process.returncode == 0, (page, out[-3000:], self.logs())
        return out

    def begin(self):
        """To the point where the short pages begin: all is agreed, and no broker runs yet."""
        self.carry_out("tutorials/consortium-of-three.md", until=_BROKER)

    def said(self):
        """The commands of the last page, in the order in which they began."""
        found = []
        for file in sorted(self.kept.glob("*.said")):
            first, _, out = file.read_text().partition("\n")
            found.append(Said(first.split(), out))
        return found

    def logs(self):
        """The ends of the parties' logs."""
        return {str(log): log.read_text()[-800:] for log in self.folder.glob("*/log")}


def _end_session(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
