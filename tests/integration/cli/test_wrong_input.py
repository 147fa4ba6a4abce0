import pytest

CASES = {
    "no such command": (["rum"], ["no command 'rum'", "'run'", "securefl --help"]),
    "no such subcommand": (["data", "descibe"], ["'describe'", "securefl data --help"]),
    "run: unknown task": (["run", "--task", "demnad"], ["'demnad'", "did you mean 'demand'?"]),
    "run: unknown source": (["run", "--data", "tutoral"], ["did you mean 'tutorial'?"]),
    "run: unknown model": (["run", "--model", "rating-nfc"], ["did you mean 'rating-ncf'?"]),
    "run: model of another task": (["run", "--task", "demand", "--model", "mf"], ["forecaster"]),
    "run: unknown option": (["run", "--round", "3"], ["--rounds", "securefl run --help"]),
    "run: no rounds": (["run", "--rounds", "0"], ["--rounds", "0"]),
    "run: rounds are no number": (["run", "--rounds", "many"], ["--rounds", "many"]),
    "run: missing configuration": (["run", "nope.toml"], ["nope.toml does not exist"]),
    "run: configuration is a folder": (["run", "."], ["cannot be read"]),
    "run: files without a configuration": (
        ["run", "--data", "files"],
        ["config init --data files"],
    ),
    "run: resume of nothing": (["run", "--resume", "nope"], ["nope is no run directory"]),
    "run: resume and options": (["run", "--resume", "x", "--seed", "3"], ["--resume", "--seed"]),
    "run: resume and configuration": (["run", "a.toml", "--resume", "x"], ["a configuration"]),
    "run: unknown format": (["run", "--format", "jsn"], ["did you mean 'json'?"]),
    "describe: missing configuration": (["data", "describe", "no.toml"], ["does not exist"]),
    "describe: unknown source": (["data", "describe", "--data", "x"], ["known: ", "tutorial"]),
    "describe: unknown format": (["data", "describe", "--format", "toml"], ["json"]),
    "show: missing configuration": (["config", "show", "no.toml"], ["no.toml does not exist"]),
    "show: model of another task": (
        ["config", "show", "--model", "forecaster"],
        ["unknown value 'forecaster'"],
    ),
    "show: negative seed": (["config", "show", "--seed", "-1"], ["--seed"]),
    "init: unknown task": (["config", "init", "--task", "x"], ["recommendation"]),
    "init: unknown source": (["config", "init", "--data", "flies"], ["did you mean 'files'?"]),
    "init: no such folder": (["config", "init", "no/such.toml"], ["no/such.toml", "No such file"]),
}


@pytest.mark.parametrize(("arguments", "words"), CASES.values(), ids=CASES.keys())
def test_one_clear_line_and_nothing_written(cli, here, arguments, words):
    assert cli(*arguments).refused(*words)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "typo of a key": ("round = 3", ["'round'", "did you mean 'rounds'?"]),
        "typo in a section": ("[training]\nlerning_rate = 1", ["did you mean 'learning_rate'?"]),
        "wrong type": ("rounds = 'many'", ["rounds", "integer"]),
        "out of range": ("[cohort]\nfraction = 2.0", ["cohort.fraction"]),
        "unknown task": ("task = 'ratings'", ["task", "'ratings'"]),
        "unknown source": ("[data]\nsource = 'file'", ["did you mean 'files'?"]),
        "unknown model": ("[model]\nname = 'mff'", ["model.name", "did you mean 'mf'?"]),
        "key of another source": ("[data]\nretailers = 3", ["data.retailers"]),
        "no TOML": ("rounds = = 3", ["no valid TOML"]),
    }.values(),
)
@pytest.mark.parametrize("command", [["run"], ["config", "show"], ["data", "describe"]])
def test_a_mistake_in_the_configuration_names_file_and_key(cli, here, command, text, words):
    (here / "my.toml").write_text(text)
    assert cli(*command, "my.toml").refused("my.toml", *words)
    assert [path.name for path in here.iterdir()] == ["my.toml"]


def test_binary_rubbish_is_no_configuration(cli, here):
    (here / "my.toml").write_bytes(b"\xff\xfe\x00")
    assert cli("run", "my.toml").refused("my.toml", "cannot be read")


@pytest.mark.parametrize("options", [[], ["--repeat", "2"]])
@pytest.mark.parametrize("out", ["taken", "taken/inside", "/proc/nowhere/at-all"])
def test_output_that_cannot_be_written(cli, here, ratings, out, options):
    (here / "taken").write_text("a file of somebody")
    assert cli("run", ratings, "--out", out, *options).refused(out)
    assert (here / "taken").read_text() == "a file of somebody"


@pytest.mark.parametrize("options", [[], ["--repeat", "2"]])
def test_a_directory_with_something_in_it_is_left_alone(cli, here, ratings, options):
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("years of work")
    assert cli("run", ratings, "--out", "out", *options).refused("out", "not empty")
    assert [path.name for path in (here / "out").iterdir()] == ["thesis.txt"]


def test_a_missing_gpu_is_noticed_before_anything_is_loaded(cli, here, ratings, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli("run", ratings, "--out", "out", "--device", "cuda", "--quiet").refused("no CUDA")


def test_a_wrong_table_names_file_and_column(cli, here):
    (here / "sales.csv").write_text("customer,product,day\n1,1,2024-01-01\n")
    (here / "catalogue.csv").write_text("product\n1\n")
    (here / "my.toml").write_text(
        "[data]\nsource = 'files'\ncatalogue = 'catalogue.csv'\n"
        "[[data.members]]\nname = 'north'\ntransactions = 'sales.csv'\n"
    )
    assert cli("data", "describe", "my.toml").refused("sales.csv", "column")
    assert cli("run", "my.toml", "--quiet", "--format", "json").refused("sales.csv", "column")
