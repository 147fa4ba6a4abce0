"""Real runs, exported and audited: whatever an honest run meets, its bundle holds."""

import pytest

from securefl.audit.bundle.inputs import read_bundle
from securefl.audit.explain import explain
from securefl.audit.export import audit_run, export
from securefl.audit.verify import verify_file
from securefl.config.load import load_config, merge
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.errors import RunDirectoryError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run

PRIVATE = {
    "mode": "secure",
    "rounds": 2,
    "model": {"name": "profile", "rank": 2},
    "privacy": {
        "dp": "local",
        "epsilon": 3.0,
        "delta": 1e-3,
        "sampling_rate": 0.5,
        "expected_batch": 20.0,
        "steps": 2,
    },
}
POLICY = """\
version = 1
data_set = "customers"
modes = ["plain", "secure"]
{line}

[cap.customer]
epsilon = {epsilon}
delta = 1e-3
"""


@pytest.fixture
def audited(tmp_path, purchases):
    """Runs privately, exports, audits; returns the verdicts by name and the bundle's file."""

    def make(name, policies=None, other=None, **changes):
        config = load_config(None, merge({**purchases, "model": {}}, merge(PRIVATE, changes)))
        places = LedgerPaths.usual(policy=policies)
        directory = RunDirectory.create(tmp_path / name, config, places)
        run(directory)
        path = tmp_path / f"{name}.json"
        export(directory.path, path, open_units=True)
        others = () if other is None else (other,)
        audit = verify_file(path, others=others, model=directory.model_path)
        assert audit_run(directory.path).verdict == "pass"
        assert audit.verdict == "pass", [c for c in audit.checks if c.verdict in {"fail", "warn"}]
        return {check.name: check.verdict for check in audit.checks}, path

    return make


@pytest.mark.slow
def test_a_private_run_and_the_next_one_on_the_same_data(audited):
    found, first = audited("first")
    skipped = {name for name, verdict in found.items() if verdict != "pass"}
    assert skipped == {"agreement-pinned", "earlier-runs", "model-signed", "votes-counted"}
    found, _ = audited("second", other=first, mode="plain", rounds=1)
    assert found["earlier-runs"] == "pass"


@pytest.mark.parametrize("step", ["masked-input", "unmask"])
def test_a_member_that_is_away(audited, step):
    """West is in no sum, or in one whose end it does not hear."""
    dropouts = [{"member": "west", "round": 1, "step": step}]
    found, path = audited("away", simulation={"dropouts": dropouts})
    assert found["releases-recorded"] == found["models-from-sums"] == "pass"
    survivors = {"west" in e.survivors for e in events(path, "outcome") if e.round == 1}
    assert survivors == {step == "unmask"}


@pytest.mark.parametrize(
    ("line", "epsilon", "reason"), [("least_members = 9", 9, "members"), ("", 2.5, "cap")]
)
def test_a_member_that_refuses_the_run_or_a_round(audited, tmp_path, line, epsilon, reason):
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in ("north", "south", "west"):
        (policies / f"{name}.toml").write_text(POLICY.format(epsilon=9, line=""))
    (policies / "east.toml").write_text(POLICY.format(epsilon=epsilon, line=line))
    _, path = audited("refusing", policies)
    assert [event.reason for event in events(path, "refusal")] == [reason]
    assert [m.refusals for m in explain(read_bundle(path)).members if m.name == "east"] == [1]


def events(path, kind):
    found = (signed.entry.event for signed in read_bundle(path).entries)
    return [event for event in found if event.kind == kind]


def test_what_cannot_be_exported_is_one_line(tmp_path, small_config):
    directory = RunDirectory.create(tmp_path / "run", small_config())
    with pytest.raises(RunDirectoryError, match=r"no ledger: ledger\.sqlite is missing"):
        export(directory.path, tmp_path / "bundle.json")
    with pytest.raises(RunDirectoryError, match="no run directory"):
        export(tmp_path, tmp_path / "bundle.json")
    assert not (tmp_path / "bundle.json").exists()
