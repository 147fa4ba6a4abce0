"""docs/howto/new-engine.md adds an engine as it says, and everything that it shows works."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from securefl.config.load import load_config
from securefl.errors import ConfigError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.runs.simulation import engine_of
from support.paths import page

PAGE = page("new-engine.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def install(folder, name):
    """What pip leaves of a distribution that has the page's file and the page's registration."""
    folder.mkdir(exist_ok=True)
    (folder / "securefl_queue.py").write_text(blocks("python")[0])
    groups = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, rows in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in rows.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    install(folder, "securefl_queue")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("SECUREFL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield folder
    sys.modules.pop("securefl_queue", None)


@pytest.fixture
def carried(installed, monkeypatch):
    """The parties to whom the page's engine carried a message."""
    import securefl_queue

    names, publish = set(), securefl_queue.QueueEngine.publish

    def noting(self, party, message):
        names.add(party)
        publish(self, party, message)

    monkeypatch.setattr(securefl_queue.QueueEngine, "publish", noting)
    return names


@pytest.mark.slow
def test_the_page_s_engine_runs_to_the_same_result(carried):
    exec(compile(blocks("python")[1], "new-engine.md", "exec"), {"__name__": "__main__"})
    weights = [Path("runs", name, "model.safetensors").read_bytes() for name in ("local", "queue")]
    assert weights[0] == weights[1]
    assert carried == {f"retailer-{n}" for n in range(5)} | {"pooled"}


def test_a_run_goes_on_over_the_new_engine(carried, tmp_path, small_config, monkeypatch):
    """A run that is killed behind its first round ends with the weights of one that is not."""
    engine = {"name": "queue", "workers": 1}
    whole = RunDirectory.create(tmp_path / "whole", small_config(engine=engine))
    begun = RunDirectory.create(tmp_path / "begun", small_config(engine=engine))
    run(whole)
    save = RunDirectory.save_round

    def save_and_die(self, record, state):
        save(self, record, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save_round", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run(begun)
    run(RunDirectory.open(begun.path))
    assert begun.model_path.read_bytes() == whole.model_path.read_bytes()


def test_an_error_of_the_thread_ends_the_run(installed, tmp_path, small_config, monkeypatch):
    from securefl.federation.member.member import Member

    def lost(self, message):
        raise RuntimeError("lost")

    monkeypatch.setattr(Member, "handle", lost)
    directory = RunDirectory.create(tmp_path / "run", small_config(engine={"name": "queue"}))
    with pytest.raises(RuntimeError, match="lost"):
        run(directory)


def test_an_engine_is_not_imported_to_be_named(installed):
    load_config(None, {"task": "demand", "engine": {"name": "queue"}})
    assert "securefl_queue" not in sys.modules


def test_an_unregistered_engine_is_refused():
    with pytest.raises(ConfigError, match=r"engine.name: input should be 'local'$"):
        load_config(None, {"task": "demand", "engine": {"name": "queue"}})


def test_an_unknown_engine_is_refused_with_the_names(installed):
    with pytest.raises(ConfigError, match=r"input should be 'local' or 'queue'$"):
        load_config(None, {"task": "demand", "engine": {"name": "queues"}})


def test_an_engine_registered_twice_is_refused(installed):
    install(installed, "other_queue")
    with pytest.raises(ConfigError, match="more than one distribution registers 'queue'"):
        engine_of("queue")
