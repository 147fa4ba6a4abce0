"""Mutants of the protocol's core, and which of them tests/protocols notices.

    PYTHONPATH=tests python -m protocols.mutation.mutants [--each 12] [--seed 1] [--checks]

Each mutant is one small change of one module: a comparison, a sign, a constant, a check that
never raises. It is written into a copy of the package, and the tests of the protocol run against
that copy until one fails. A mutant that none fails for has survived; it is printed with its line.
docs/specification/protocol.md says how many were killed, and why the others cannot be.
"""

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import cryptography.hazmat.primitives.asymmetric.ed25519
import cryptography.hazmat.primitives.asymmetric.x25519
import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - imported once, not a child each
import msgpack  # noqa: F401
import numpy as np  # noqa: F401
import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "protocols" / "securefl_protocols"
MODULES = {
    "masking": "session/masking.py",
    "shamir": "primitives/shamir.py",
    "client_round": "session/client_round.py",
    "unmasking": "session/unmasking.py",
    "plan": "session/plan.py",
}
FIRST = {
    "masking": ("test_masking.py",),
    "shamir": ("test_shamir.py", "test_core_checks.py"),
    "client_round": ("test_core_checks.py", "attacks/test_agreement.py"),
    "unmasking": ("test_core_checks.py",),
    "plan": ("test_core_checks.py", "test_vectors_sessions.py"),
}
"""The tests that run first for a module, because they notice most."""

TESTS = (
    "test_core_checks.py",
    "test_vectors_sessions.py",
    "test_masking.py",
    "test_shamir.py",
    "attacks/test_agreement.py",
    "attacks/test_unmasking.py",
    "attacks/test_inputs.py",
    "attacks/test_by_dealers.py",
    "attacks/test_the_sum.py",
    "attacks/test_repeated_rounds.py",
    "attacks/test_noise_layers.py",
    "attacks/test_the_draw.py",
    "test_sessions.py",
    "test_known_answers.py",
    "proofs/test_norms_in_sessions.py",
)

LONGEST = 120
"""Seconds of its own time that the tests of a mutant may take; those of the original take fewer."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Mod: ast.Add,
}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: Which module, by its name in `MODULES`.
        line: Where.
        change: What became of what.
        place: Which node of the module's tree, as `ast.walk` counts them.
        number: Which of the node's changes.
    """

    module: str
    line: int
    change: str
    place: int
    number: int


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield every change of one node, with its description."""
    if isinstance(node, ast.Compare):
        for place, operation in enumerate(node.ops):
            if type(operation) in COMPARISONS:
                changed = copy.deepcopy(node)
                changed.ops[place] = COMPARISONS[type(operation)]()
                yield f"{ast.unparse(node)} -> {ast.unparse(changed)}", changed
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        changed = copy.deepcopy(node)
        changed.op = OPERATIONS[type(node.op)]()
        yield f"{ast.unparse(node)} -> {ast.unparse(changed)}", changed
    if isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{ast.unparse(node)} -> {ast.unparse(changed)}", changed
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)
    if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
        changed = copy.deepcopy(node)
        changed.test = ast.Constant(False)
        yield f"no check of {ast.unparse(node.test)}", changed


def mutants(module: str) -> list[Mutant]:
    """Return every mutant of a module."""
    text = (PACKAGE / MODULES[module]).read_text(encoding="utf-8")
    return [
        Mutant(module, getattr(node, "lineno", 0), change, place, number)
        for place, node in enumerate(ast.walk(ast.parse(text)))
        for number, (change, _) in enumerate(changes(node))
    ]


def source_of(mutant: Mutant) -> str:
    """Return the whole module with the change."""
    tree = ast.parse((PACKAGE / MODULES[mutant.module]).read_text(encoding="utf-8"))
    target = list(ast.walk(tree))[mutant.place]
    replacement = list(changes(target))[mutant.number][1]
    return ast.unparse(ast.fix_missing_locations(_Replace(target, replacement).visit(tree)))


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def survives(mutant: Mutant, first: bool) -> bool:
    """Run the first tests of the module, or all others, against a copy with the mutant in it."""
    names = FIRST[mutant.module]
    chosen = names if first else [name for name in TESTS if name not in names]
    return _pass(mutant, source_of(mutant), chosen)


def original_passes() -> bool:
    """Run the tests against an unchanged copy; if they fail, they say nothing of the mutants."""
    every = tuple(dict.fromkeys([*(name for names in FIRST.values() for name in names), *TESTS]))
    unchanged = Mutant("masking", 0, "nothing", 0, 0)
    text = (PACKAGE / MODULES["masking"]).read_text(encoding="utf-8")
    return _pass(unchanged, text, every)


def _pass(mutant: Mutant, source: str, names: Sequence[str]) -> bool:
    """Run some tests in a child that has everything imported but the package itself."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "securefl_protocols"
        shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
        (copied / MODULES[mutant.module]).write_text(source, encoding="utf-8")
        child = os.fork()
        if not child:
            _run(folder, [str(ROOT / "tests" / "protocols" / name) for name in names])
        return os.waitpid(child, 0)[1] == 0


def _run(folder: str, tests: list[str]) -> NoReturn:
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    # A mutant that runs for ever is noticed, too: by its own time, whatever else the machine does,
    # and one that only waits by the clock.
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    signal.alarm(20 * LONGEST)
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--noconftest"]
    os._exit(0 if pytest.main([*options, *tests]) == 0 else 1)


def sample(each: int, seed: int) -> list[Mutant]:
    """Return so many mutants of each module, drawn from all."""
    source = random.Random(seed)
    drawn = []
    for module in MODULES:
        every = mutants(module)
        drawn += source.sample(every, min(each, len(every)))
    return drawn


def left_out() -> list[Mutant]:
    """Return every check of the modules, each left out."""
    every = [mutant for module in MODULES for mutant in mutants(module)]
    return [mutant for mutant in every if mutant.change.startswith("no check")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checks", action="store_true", help="every check, left out; draw none")
    options = parser.parse_args()
    if not original_passes():
        sys.stdout.write("the tests fail without a change\n")
        return 2
    drawn = left_out() if options.checks else sample(options.each, options.seed)
    alive = [mutant for mutant in drawn if _said(mutant, survives(mutant, True), "so far")]
    alive = [mutant for mutant in alive if _said(mutant, survives(mutant, False), "at the end")]
    killed = len(drawn) - len(alive)
    sys.stdout.write(f"{killed} of {len(drawn)} mutants killed\n")
    return 0 if 10 * killed >= 9 * len(drawn) else 1


def _said(mutant: Mutant, survived: bool, when: str) -> bool:
    verdict = f"survives {when}" if survived else "killed"
    sys.stdout.write(f"{verdict}: {mutant.module}:{mutant.line} {mutant.change}\n")
    sys.stdout.flush()
    return survived


if __name__ == "__main__":
    sys.exit(main())
