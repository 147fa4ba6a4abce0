"""The golden run: what runs leave behind, byte for byte, so that a change of the code shows.

    PYTHONPATH=tests python -m support.golden check tests/golden/runs.json
    PYTHONPATH=tests python -m support.golden write tests/golden/runs.json
    PYTHONPATH=tests python -m support.golden dump FOLDER    # all that is hashed, for diff -r

Entropy and clock are pinned, so real bytes are hashed, signatures and roots included. `always`
holds the digests of what does not depend on floating point, and `exact` those of the rest, which
are compared on a machine that computes like the one that wrote them (`machine`). `formats` holds
the names that stand in files and messages, to be read.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import golden_forms as forms
from support.golden_machine import machine
from support.golden_pins import CODE_DIGEST, Wire, pin
from support.golden_runs import FACTS, POLICY, REFUSED, RUNS, options

Golden = dict[str, Any]


@dataclass
class Collected:
    """Contents by name, before they are hashed; `formats` maps a format to what stands in it."""

    always: dict[str, Any] = field(default_factory=dict)
    exact: dict[str, Any] = field(default_factory=dict)
    formats: dict[str, dict[str, Any]] = field(default_factory=dict)

    def both(self, name: str, tree: Any) -> None:
        """Keep a tree as it is, and without what floating point decides."""
        self.exact[name] = tree
        self.always[name] = forms.without_floats(tree)

    def named(self, kind: str, name: str, fields: Any) -> None:
        """Keep the fields of something that stands in a format, joined over all runs."""
        known = self.formats.setdefault(kind, {})
        known[name] = sorted({*known.get(name, ()), *fields})

    def golden(self) -> Golden:
        """What is written to the file."""
        parts = {"always": self.always, "exact": self.exact}
        hashed = {
            part: {name: forms.digest(value) for name, value in sorted(contents.items())}
            for part, contents in parts.items()
        }
        return {"machine": machine(), "formats": self.formats, **hashed}


@dataclass(frozen=True)
class Run:
    """Where a golden run takes place."""

    name: str
    root: Path

    @property
    def path(self) -> Path:
        """Its run directory."""
        return self.root / "run"

    @property
    def books(self) -> Path:
        """Its members' books."""
        return self.root / "books"


def collect() -> Collected:
    """Make all runs in this process, which is pinned for good."""
    entropy, wire = pin()
    found = Collected()
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNS:
            entropy.restart(name)
            run = Run(name, Path(folder) / name)
            _run(run, wire, found)
        for name in FACTS:
            entropy.restart(f"facts of {name}")
            _facts(name, Path(folder), found)
    return found


def _run(run: Run, wire: Wire, found: Collected) -> None:
    import securefl

    run.root.mkdir()
    os.environ["SECUREFL_HOME"] = str(run.root / "home")
    policy = None
    if run.name in REFUSED:
        policy = run.root / "policy.toml"
        policy.write_text(POLICY)
    config = securefl.configure(**options(run.name))
    result = securefl.run(config, run.path, book=run.books, policy=policy)
    found.both(f"{run.name}/result", _without_places(result.to_json(), run))
    if policy is not None:
        _refused(run, config, policy, found)
    _messages(run, wire.taken(), found)
    _directory(run, found)
    _bundle(run, found)


def _refused(run: Run, config: Any, policy: Path, found: Collected) -> None:
    """A second run on the same data, which the policy does not allow."""
    import securefl

    again = run.root / "again"
    try:
        outcome = securefl.run(config, again, book=run.books, policy=policy).to_json()
    except Exception as error:
        outcome = {"refused": str(error), "exit": getattr(error, "exit_code", None)}
    found.both(f"{run.name}/again", _without_places(outcome, run))


def _without_places(tree: Any, run: Run) -> Any:
    return forms.pruned(forms.without_times(tree), set(), {str(run.root): "ROOT"})


def _messages(run: Run, messages: list[tuple[dict[str, Any], bytes]], found: Collected) -> None:
    assert messages, "no message was seen: the tap on msgpack.unpackb is dry"
    found.exact[f"{run.name}/wire"] = [data for _, data in messages]
    found.always[f"{run.name}/wire-order"] = forms.wire_order(messages)
    fields = forms.wire_fields(messages)
    found.always[f"{run.name}/wire-fields"] = fields
    for kind, (_, *names) in fields.items():
        found.named("messages", kind, names)


def _directory(run: Run, found: Collected) -> None:
    files = sorted(p for p in run.path.rglob("*") if p.is_file())
    found.always[f"{run.name}/files"] = [p.relative_to(run.path).as_posix() for p in files]
    for file in ("config.toml", "agreement.json", "run.json"):
        found.always[f"{run.name}/{file}"] = (run.path / file).read_bytes()
    weights, layout = forms.tensors(run.path / "model.safetensors")
    found.exact[f"{run.name}/weights"] = weights
    found.always[f"{run.name}/tensors"] = layout
    places = (run.path / "places.toml").read_text().replace(str(run.root), "ROOT")
    found.always[f"{run.name}/places.toml"] = places
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        record = _without_places(line, run)
        found.both(f"{run.name}/round-{record['round']}", record)
        found.named("round record", "fields", record)
    _states(run, files, found)
    for book in sorted(run.books.glob("*.sqlite")):
        tables = forms.database(book, run.root)
        found.both(f"{run.name}/ledger-of-{book.stem}", tables)
        _events([row["bytes"] for row in tables["entries"]], found)
    found.both(f"{run.name}/log", forms.database(run.path / "ledger.sqlite", run.root))


def _states(run: Run, files: list[Path], found: Collected) -> None:
    """Whatever else lies there: transcripts, checkpoints, releases, what members hand over."""
    apart = {".sqlite", ".toml", ".jsonl", ".pem", ".json", ".lock"}
    kept = [p for p in files if p.suffix not in apart and p.name != ".lock" and p.stat().st_size]
    kept = [p for p in kept if "sqlite" not in p.name]
    found.exact[f"{run.name}/states"] = {
        p.relative_to(run.path).as_posix(): list(forms.tensors(p))
        if p.suffix == ".safetensors"
        else p.read_bytes()
        for p in kept
    }
    keys = [p for p in files if p.suffix == ".pem"]
    found.always[f"{run.name}/keys"] = {str(p.relative_to(run.path)): p.read_bytes() for p in keys}


def _bundle(run: Run, found: Collected) -> None:
    out = run.root / "exported" / "bundle.json"
    out.parent.mkdir()
    _command("audit", "export", str(run.path), "--out", str(out), "--open-units")
    tree = json.loads(out.read_bytes())
    found.both(f"{run.name}/bundle", tree)
    found.exact[f"{run.name}/bundle-bytes"] = out.read_bytes()
    beside = sorted(p for p in out.parent.rglob("*") if p.is_file())
    found.always[f"{run.name}/bundle-files"] = [str(p.relative_to(out.parent)) for p in beside]
    found.always[f"{run.name}/bundle-shape"] = forms.shape(tree)
    found.named("bundle", "fields", tree)
    _events(tree["entries"], found)
    audit = json.loads(_command("audit", "verify", str(out), "--format", "json"))
    replaced = {str(run.root): "ROOT"}
    found.exact[f"{run.name}/audit"] = forms.pruned(audit, set(), replaced)
    verdicts = {f"{n:03} {c['name']}": c["verdict"] for n, c in enumerate(audit["checks"])}
    found.always[f"{run.name}/audit"] = verdicts
    for check in audit["checks"]:
        found.named("audit checks", check["name"], check)


def _events(entries: list[dict[str, Any]], found: Collected) -> None:
    """Keep the fields of what members signed."""
    for signed in entries:
        event = signed["entry"]["event"]
        assert event.get("code", CODE_DIGEST) == CODE_DIGEST, "the code digest is not pinned"
        found.named("events", "signed", signed)
        found.named("events", "entry", signed["entry"])
        found.named("events", event["kind"], event)
        if event.get("mechanism"):
            found.named("mechanisms", event["mechanism"]["name"], event["mechanism"])


def _facts(name: str, folder: Path, found: Collected) -> None:
    import msgpack
    import tomli_w

    config, out = folder / f"{name}.toml", folder / f"{name}.facts"
    config.write_text(tomli_w.dumps(FACTS[name]))
    _command("facts", str(config), "--out", str(out))
    found.exact[f"facts-{name}/bytes"] = out.read_bytes()
    tree = msgpack.unpackb(out.read_bytes())
    found.always[f"facts-{name}/content"] = forms.without_floats(_without_arrays(tree))
    for written, parts in _written(tree):
        found.named("facts", written, parts)


def _without_arrays(tree: Any) -> Any:
    """Arrays of floats by type and size; whole numbers, days and texts as they are."""
    if isinstance(tree, dict) and "array" in tree:
        dtype, size, data = tree["array"]
        return {"array": [dtype, size, "floats" if "f" in dtype else data]}
    if isinstance(tree, dict):
        return {k: _without_arrays(v) for k, v in tree.items()}
    return [_without_arrays(v) for v in tree] if isinstance(tree, list) else tree


def _written(tree: Any) -> Iterator[tuple[str, list[str]]]:
    """The names that stand in a facts file, each with its parts."""
    if isinstance(tree, dict):
        if "of" in tree:
            yield tree["of"], sorted(tree["parts"])
        for part in tree.values():
            yield from _written(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _written(part)


def _command(*arguments: str) -> str:
    """What a command of the command line prints."""
    from securefl_cli.main import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(arguments)
    assert code in {0, 1, 3}, f"{arguments}: {printed.getvalue()}"
    return printed.getvalue()


def differences(old: Golden, new: Golden) -> list[str]:
    """What differs by name; empty where nothing does."""
    alike = old["machine"] == new["machine"]
    lines = []
    for part in ("formats", "always", *(["exact"] if alike else [])):
        names = sorted({*old[part], *new[part]})
        lines += [
            f"{part}: {name} {_change(old[part].get(name), new[part].get(name))}"
            for name in names
            if old[part].get(name) != new[part].get(name)
        ]
    return lines


def _change(old: Any, new: Any) -> str:
    if old is None or new is None:
        return "is new" if old is None else "is gone"
    if isinstance(old, dict) and isinstance(new, dict):
        changed = [k for k in {*old, *new} if old.get(k) != new.get(k)]
        return "differs: " + ", ".join(
            f"{k}: {old.get(k)} -> {new.get(k)}" for k in sorted(changed)
        )
    return "differs"


def collected_apart() -> Golden:
    """The golden run of this code, made in a process of its own: pins cannot be taken back."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "golden.json"
        command = [sys.executable, "-m", "support.golden", "write", str(out)]
        subprocess.run(command, check=True, env=environment)
        golden: Golden = json.loads(out.read_bytes())
    return golden


def dump(found: Collected, folder: Path) -> None:
    """Write what is hashed, a file each, to be compared with another's by `diff -r`."""
    for part, contents in {"always": found.always, "exact": found.exact}.items():
        for name, value in contents.items():
            path = folder / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value if isinstance(value, bytes) else forms.form(value).encode())


def main(arguments: list[str]) -> int:
    """`write FILE`, `check FILE` or `dump FOLDER`."""
    if len(arguments) != 2 or arguments[0] not in {"write", "check", "dump"}:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    verb, path = arguments[0], Path(arguments[1])
    found = collect()
    if verb == "dump":
        dump(found, path)
        return 0
    golden = found.golden()
    if verb == "write":
        path.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return 0
    old = json.loads(path.read_bytes())
    lines = differences(old, golden)
    alike = old["machine"] == golden["machine"]
    lines += [] if alike else ["(another machine: what depends on floating point is not compared)"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(bool(lines) and lines[0][0] != "(")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
