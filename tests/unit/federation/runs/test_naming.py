"""Names of runs that nobody named."""

from datetime import UTC, datetime

from securefl.config.load import load_config
from securefl.federation.runs.directory import default_path


def test_two_runs_of_one_second_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, moment = load_config(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    names = []
    for _ in range(3):
        path = default_path(config, "secure", moment)
        path.mkdir(parents=True)
        names.append(path.name)
    assert names[0] == "recommendation-secure-seed0-20260102T030405Z"
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]
