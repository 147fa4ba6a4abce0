"""A run that the command line makes in a second, ended or interrupted."""

import pytest

RATINGS = """\
task = "recommendation"
rounds = 3

[data]
source = "tutorial"
customers = 60
items = 40
interactions = [300, 600]

[model]
name = "rating-ncf"
dim = 8
hidden = 16
"""


@pytest.fixture
def ratings(here):
    """A configuration whose run takes a second."""
    path = here / "ratings.toml"
    path.write_text(RATINGS)
    return str(path)


@pytest.fixture
def interrupted(cli, ratings, monkeypatch):
    """A run that Ctrl-C ended after its first round."""

    def interrupt(*options):
        from securefl.federation.runs.directory import RunDirectory

        save = RunDirectory.save_round

        def save_and_interrupt(self, record, state):
            save(self, record, state)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "save_round", save_and_interrupt)
            return cli("run", ratings, "--out", "begun", "--no-references", *options)

    return interrupt
