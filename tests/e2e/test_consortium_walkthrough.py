"""docs/tutorials/consortium.md is carried out, command by command."""

import re
import shlex

from support.paths import page

TEXT = page("consortium.md").read_text(encoding="utf-8")
FILES = re.compile(r"`([a-z]+\.toml)`:\n\n```toml\n(.*?)```", re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


def walked(cli, folder):
    """Every command of the page, in its order, with what it printed."""
    for name, content in FILES.findall(TEXT):
        (folder / name).write_text(content)
    centre = '{ name = "centre", transactions = "sales.csv" },'
    text = (folder / "run.toml").read_text()
    assert centre in text
    more = f"{centre}\n    {centre.replace('centre', 'isle')}"
    (folder / "six.toml").write_text(text.replace(centre, more))
    for line in COMMANDS:
        program, *words = shlex.split(line)
        assert program == "securefl"
        yield line, cli(*words)


def test_every_command_of_the_page_works_and_says_what_is_next(cli, here, monkeypatch):
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "four words are better")
    verified = []
    for line, outcome in walked(cli, here):
        assert outcome.code == 0, (line, outcome)
        assert "Next" in outcome.out, line
        verified += [outcome.out] if " verify " in line else []
    assert len(verified) == 4
    assert all(out.startswith("In force    yes") for out in verified)
    assert "Policy      policy.toml allows it" in verified[0]

    path = here / "agreement-2.toml"
    path.write_text(path.read_text().replace("epsilon = 4.0", "epsilon = 8.0"))
    assert cli("agreement", "verify", "agreement-2.toml").refused("changed after it was signed")
