"""Mutants of the protocol's core, and which of them tests/protocols notices.

    PYTHONPATH=tests python -m protocols.mutation.mutants [--each 30] [--seed 1]

Each mutant is one small change of one module: a comparison, a sign, a constant, a check that
never raises. It is written into a copy of the package, and the tests of the protocol run against
that copy until one fails. A mutant that none fails for has survived; it is printed with its line.
`EQUIVALENT` names survivors that cannot be told from the original, with the reason.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "protocols" / "securefl_protocols"
MODULES = {
    "masking": "session/masking.py",
    "shamir": "primitives/shamir.py",
    "client_round": "session/client_round.py",
    "unmasking": "session/unmasking.py",
    "plan": "session/plan.py",
}
TESTS = (
    "test_vectors_sessions.py",
    "test_core_checks.py",
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
)
"""In the order in which they run: those that notice most come first."""

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
        source: The whole module with the change.
    """

    module: str
    line: int
    change: str
    source: str


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
    count = len(list(ast.walk(ast.parse(text))))
    found = []
    for place in range(count):
        node = list(ast.walk(ast.parse(text)))[place]
        for number, (change, _) in enumerate(changes(node)):
            tree = ast.parse(text)
            target = list(ast.walk(tree))[place]
            replacement = list(changes(target))[number][1]
            whole = ast.fix_missing_locations(_Replace(target, replacement).visit(tree))
            line = getattr(node, "lineno", 0)
            found.append(Mutant(module, line, change, ast.unparse(whole)))
    return found


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def survives(mutant: Mutant) -> bool:
    """Run the tests against a copy of the package with the mutant in it."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "securefl_protocols"
        shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
        (copied / MODULES[mutant.module]).write_text(mutant.source, encoding="utf-8")
        path = os.pathsep.join((folder, str(ROOT), str(ROOT / "cli"), str(ROOT / "tests")))
        tests = [str(ROOT / "tests" / "protocols" / name) for name in TESTS]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        try:
            ended = subprocess.run(
                [*command, "--override-ini=pythonpath=", *tests],
                env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=ROOT,
                capture_output=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return ended.returncode == 0


def sample(each: int, seed: int) -> list[Mutant]:
    """Return so many mutants of each module, drawn from all."""
    source = random.Random(seed)
    drawn = []
    for module in MODULES:
        every = mutants(module)
        drawn += source.sample(every, min(each, len(every)))
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    drawn, alive = sample(options.each, options.seed), 0
    for mutant in drawn:
        survived = survives(mutant)
        alive += survived
        verdict = "SURVIVED" if survived else "killed"
        print(f"{verdict} {mutant.module}:{mutant.line} {mutant.change}", flush=True)
    print(f"{len(drawn) - alive} of {len(drawn)} mutants killed")
    return 0 if 10 * alive <= len(drawn) else 1


if __name__ == "__main__":
    sys.exit(main())
