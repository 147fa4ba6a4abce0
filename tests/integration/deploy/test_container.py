"""The container image: what it may not do, and that its first process ends when it is told to."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml

from securefl_cli.main import securefl
from support.container_lint import instructions, lint
from support.paths import ROOT

PLACE = ROOT / "deploy" / "container"
FILE = PLACE / "Containerfile"
HEALTHY = PLACE / "healthy"
DIGEST = "sha256:" + "ab" * 32
GOOD = f"""
ARG BASE=python@{DIGEST}
FROM ${{BASE}} AS build
RUN pip install -c constraints.txt x
FROM ${{BASE}}
USER 10001:10001
HEALTHCHECK CMD ["healthy"]
ENTRYPOINT ["securefl"]
"""


def test_the_image_breaks_no_rule():
    assert lint(FILE.read_text()) == []
    assert lint(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (f"@{DIGEST}", ":3.11", "not pinned"),
        (f"@{DIGEST}", f":3.11@{DIGEST[:-1]}", "not pinned"),
        (f"=python@{DIGEST}", "", "not pinned"),
        ("FROM ${BASE}\n", "FROM debian\n", "not pinned"),
        ("USER 10001:10001\n", "", "root"),
        ("USER 10001:10001", "USER root", "root"),
        ("USER 10001:10001", "USER 0:0", "root"),
        ("USER 10001:10001", "USER 10001:10001\nUSER 0", "root"),
        ('HEALTHCHECK CMD ["healthy"]\n', "", "health"),
        ('HEALTHCHECK CMD ["healthy"]', "HEALTHCHECK NONE", "health"),
        ('ENTRYPOINT ["securefl"]', "ENTRYPOINT securefl", "signal"),
        ("USER 10001", "ADD https://example.com/x /x\nUSER 10001", "ADD"),
        ("USER 10001", "COPY . /src\nUSER 10001", "whatever lies"),
        ("USER 10001", "ENV SECUREFL_PASSPHRASE=hunter2\nUSER 10001", "secret"),
        ("USER 10001", "ARG API_TOKEN=x\nUSER 10001", "secret"),
        ("USER 10001", "RUN curl https://example.com | sh\nUSER 10001", "no digest"),
        ("USER 10001", "RUN pip install \\\n  torch\nUSER 10001", "without constraints"),
        ("USER 10001", "RUN chmod 777 /srv\nUSER 10001", "more rights"),
    ],
)
def test_rules_find_what_they_are_for(old, new, said):
    assert old in GOOD
    assert any(said in fault for fault in lint(GOOD.replace(old, new)))


def test_the_volume_belongs_to_the_user():
    """It is made with its owner before it is declared: a new volume takes that over."""
    parts = instructions(FILE.read_text())
    (volume,) = [n for n, (word, _) in enumerate(parts) if word == "VOLUME"]
    made = [n for n, (word, words) in enumerate(parts) if word == "RUN" and "install -d" in words]
    assert made
    assert made[0] < volume
    assert f"-o 10001 -g 10001 -m 0700 {parts[volume][1]}" in parts[made[0]][1]
    assert ("USER", "10001:10001") in parts


def test_what_is_copied_exists_and_is_let_through():
    """And the context has nothing else: no keys and no tables."""
    ignored = (PLACE / "Containerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    through = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for word, words in instructions(FILE.read_text()):
        if word == "COPY" and "--from=" not in words:
            copied |= {part for part in words.split()[:-1] if not part.startswith("--")}
    assert copied == through
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.slow
def test_the_image_is_built_where_a_builder_is():
    builder = next((name for name in ("buildah", "podman", "docker") if shutil.which(name)), None)
    if (
        builder is None
        or subprocess.run([builder, "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no builder of images, or no daemon of one, is here")
    build = [builder, "build", "-f", str(FILE), "-t", "securefl-test", str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if re.search(r"(?i)dial|lookup|connection refused|no such host", done.stderr):
        pytest.skip("the base cannot be fetched from here")
    assert done.returncode == 0, done.stderr[-2000:]


def status(folder, **fields):
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"state": "training"} | fields))


@pytest.mark.parametrize(
    ("state", "age", "code"),
    [
        ("training", 5, 0),
        ("taking part", 5, 0),
        ("trying again", 300, 1),
        ("taking part", 300, 1),
        ("over", 3000, 0),
        ("stopped", 3000, 0),
        (None, 0, 0),
    ],
)
def test_health_is_the_age_of_the_last_sign_of_life(tmp_path, state, age, code):
    """Of a run that goes on; one that waits for its first, or has ended, is no fault."""
    if state is not None:
        status(tmp_path / "1", state=state, written=time.time() - age)
    words = [sys.executable, str(HEALTHY), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("sign of life" in done.stderr) is bool(code)


def test_health_reads_what_services_write():
    """Fields and states that the programs have, under these very names."""
    from typing import get_args

    from securefl.federation.services.member_status import MemberRunStatus
    from securefl.federation.services.status import RunStatus

    states = get_args(MemberRunStatus.model_fields["state"].annotation)
    assert set(states) == {"taking part", "over", "stopped"}
    for model in (MemberRunStatus, RunStatus):
        assert {"written", "state"} <= model.model_fields.keys()
    assert 'status["state"] in {"over", "stopped"}' in HEALTHY.read_text()


COMPOSE = yaml.safe_load((PLACE / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PARTIES = {"hub", "north", "south", "west", "east", "centre"}


def test_compose_has_six_parties_and_their_broker():
    assert set(SERVICES) == PARTIES | {"broker"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_of_compose_have_little(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"
    assert {"mem_limit", "cpus", "pids_limit", "healthcheck", "stop_grace_period"} <= set(service)
    assert not {"environment", "env_file", "privileged", "ports", "pid", "network_mode"} & set(
        service
    )
    for volume in service["volumes"]:
        source, target, *mode = volume.split(":")
        assert mode == ["ro"] or (source == name and target == "/var/lib/securefl")


@pytest.mark.parametrize("name", sorted(PARTIES))
def test_parties_of_compose_are_apart(name):
    """Own secrets as files, and a network with the broker alone."""
    service = SERVICES[name]
    assert service["secrets"] == [f"{name}.key", f"{name}.passphrase"]
    assert service["networks"] == [name]
    assert COMPOSE["networks"][name] == {"internal": True}
    assert [one for one in SERVICES if name in SERVICES[one]["networks"]] == ["broker", name]
    for secret in service["secrets"]:
        assert f"/run/secrets/{secret}" in service["command"]
        assert list(COMPOSE["secrets"][secret]) == ["file"]


@pytest.mark.parametrize("name", sorted(PARTIES))
def test_commands_of_compose_exist(name):
    verb, *words = map(str, SERVICES[name]["command"])
    options_exist(verb, words)
    assert SERVICES[name]["healthcheck"]["test"][:2] == ["CMD", "healthy"]
    assert SERVICES[name]["healthcheck"]["test"][2] in words


def options_exist(verb, words):
    command = securefl.get_command(None, verb)
    known = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    required = {p.opts[0] for p in command.params if p.required and p.param_type_name == "option"}
    assert required <= given <= known


def test_the_broker_is_started_with_its_configuration():
    assert SERVICES["broker"]["entrypoint"][:2] == ["nats-server", "--config"]
    assert set(SERVICES["broker"]["networks"]) == PARTIES
