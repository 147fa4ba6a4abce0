"""`securefl dossier`: a folder that is new, or one line and nothing."""

import json

import pytest

FILES = {"dossier.html", "dossier.json"}


@pytest.fixture
def finished(cli, ratings):
    cli("run", ratings, "--out", "run", "--quiet", "--no-references")
    return "run"


def test_a_dossier_is_written_once(cli, here, finished):
    """Not with a report of no attack; again it is refused, and where anything lies."""
    attack = here / "run" / "attack.json"
    attack.write_text("{}")
    cli("dossier", finished).refused("attack.json", "no report of securefl audit attack")
    cli("dossier", finished, "--attack", "none.json").refused("none.json", "does not exist")
    assert not (here / "run" / "dossier").exists()
    attack.unlink()
    cli("dossier", finished, "--time-limit", "0.001").refused("takes longer than 0.001 seconds")
    made = cli("dossier", finished)
    assert made.code == 0, made
    folder = here / "run" / "dossier"
    # Without a budget there is no epsilon for the registry.
    assert {path.name for path in folder.iterdir()} == FILES
    tree = json.loads((folder / "dossier.json").read_text("utf-8"))
    assert tree["deployment"] is None
    assert "no customer is protected" in tree["answer"]
    before = (folder / "dossier.html").read_bytes()
    cli("dossier", finished).refused("run/dossier", "exists; nothing was written")
    for taken in ("run", "run/ledger.sqlite", "ratings.toml"):
        cli("dossier", finished, "--out", taken).refused(taken, "exists; nothing was written")
    assert (folder / "dossier.html").read_bytes() == before
    assert not list(here.glob("**/.dossier*"))
    result = here / "run" / "result.json"
    unsigned = json.loads(result.read_text("utf-8"))
    unsigned["metrics"]["federated"] = dict.fromkeys(unsigned["metrics"]["federated"], 0.999)
    result.write_text(json.dumps(unsigned))
    found = cli("dossier", finished, "--out", "new/place", "--format", "json").json
    assert set(found.pop("files")) == FILES
    assert found == tree  # nothing of it is from a file that no member signed
    pinned = ("--agreement", "run/agreement.json", "--out", "pinned", "--format", "json")
    assert "Whose the keys are" in found["answer"]
    assert "Whose the keys are" not in cli("dossier", finished, *pinned).json["answer"]


def test_what_has_no_dossier_is_one_line(cli, here, interrupted):
    """No run, half a run, and no report of an attack."""
    cli("dossier", "nowhere").refused("nowhere", "no run directory")
    interrupted("--out", "half")
    cli("dossier", "half").refused("half", "has not ended", "--resume")
    assert not (here / "half" / "dossier").exists()
