"""The chart, rendered: what each party gets, and what it does not."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from securefl_cli.main import securefl
from support.paths import ROOT

CHART = ROOT / "deploy" / "helm" / "securefl"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
DIGEST = "sha256:" + "ab" * 32
PARTIES = [
    {"name": "north", "role": "member", "secret": "north", "tables": "north-tables"},
    {"name": "south", "role": "member", "secret": "south", "tables": "south-tables"}
    | {"extraArguments": ["--schedule"]},
    {"name": "hub", "role": "coordinator", "secret": "hub"},
]
CORE_FUNCTIONS = {"and", "eq", "if", "else", "end", "index", "len", "ne", "not", "or"} | {
    "printf",
    "range",
}


def values(**changes):
    tree = yaml.safe_load((CHART / "values.yaml").read_text())
    tree["image"]["digest"] = DIGEST
    return tree | {"parties": PARTIES} | changes


def test_templates_use_plain_go_templates():
    """So that what renders them here renders them as Helm does."""
    for path in TEMPLATES:
        for action in re.findall(r"\{\{-?\s*(.*?)\s*-?\}\}", path.read_text(), re.DOTALL):
            if action.startswith("/*"):
                continue
            words = re.sub(r'"[^"]*"', " ", action)
            names = set(re.findall(r"(?<![.$\w])[a-z]\w*", words))
            assert names <= CORE_FUNCTIONS, (path.name, action)


def rendered(tmp_path, tree):
    """All objects of the chart; kubectl has Go's own engine, and needs no cluster for it."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl is here to render templates with")
    release = {"Name": "three", "Namespace": "default"}
    root = {"apiVersion": "securefl/v1", "kind": "Chart", "metadata": {"name": "x"}}
    (tmp_path / "root.json").write_text(json.dumps(root | {"Values": tree, "Release": release}))
    found = []
    for path in TEMPLATES:
        words = ["kubectl", "annotate", "--local", "-f", str(tmp_path / "root.json"), "a=b"]
        done = subprocess.run(
            [*words, "-o", f"go-template-file={path}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found += [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    broker = {"enabled": True, "config": "broker", "secret": "broker-tls"}
    return rendered(tmp_path_factory.mktemp("chart"), values(broker=broker))


def sets(objects):
    return {name: one["spec"] for (kind, name), one in objects.items() if kind == "StatefulSet"}


def test_each_party_has_a_set_of_its_own(objects):
    assert set(sets(objects)) == {"three-north", "three-south", "three-hub", "three-broker"}
    for spec in sets(objects).values():
        assert spec["replicas"] == 1
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_pods_are_fit_for_restricted_namespaces(objects):
    """The rules of the level `restricted` (Pod Security Standards), one by one."""
    for spec in sets(objects).values():
        pod = spec["template"]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        assert pod["automountServiceAccountToken"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["fsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        kinds = {kind for volume in pod["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        assert {"requests", "limits"} == container["resources"].keys()
        assert "livenessProbe" in container
        assert not {"env", "envFrom"} & container.keys()
        assert container["image"].endswith("@" + DIGEST)


def test_secrets_are_mounted_as_they_are_read(objects):
    """0440 with fsGroup, which `key_files.delivered` takes; nowhere else, and read only."""
    for name, spec in sets(objects).items():
        pod = spec["template"]["spec"]
        (secret,) = [volume for volume in pod["volumes"] if "secret" in volume]
        assert secret["secret"]["defaultMode"] == 0o440, name
        mounts = {m["name"]: m for m in pod["containers"][0]["volumeMounts"]}
        assert mounts[secret["name"]]["readOnly"] is True
        assert all(
            mount.get("readOnly") for key, mount in mounts.items() if key not in {"state", "tmp"}
        )
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]} | {"state"}


@pytest.mark.parametrize("name", ["north", "south", "hub"])
def test_commands_of_the_chart_exist(objects, name):
    pod = sets(objects)[f"three-{name}"]["template"]["spec"]
    verb, *words = pod["containers"][0]["args"]
    command = securefl.get_command(None, verb)
    known = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    required = {p.opts[0] for p in command.params if p.required and p.param_type_name == "option"}
    assert required <= given <= known
    assert ("--schedule" in given) is (name == "south")
    assert pod["containers"][0]["livenessProbe"]["exec"]["command"][1] in words


def test_nobody_connects_to_a_party(objects):
    policy = objects["NetworkPolicy", "three-parties"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    reached, names = policy["egress"]
    assert reached["ports"] == [{"protocol": "TCP", "port": 4222}]
    assert {port["port"] for port in names["ports"]} == {53}
    broker = objects["NetworkPolicy", "three-broker"]["spec"]
    assert broker["egress"] == []
    chosen = [term["values"] for term in policy["podSelector"]["matchExpressions"]]
    assert chosen == [["three"], ["member", "coordinator"]]


def test_without_a_broker_there_is_none(tmp_path):
    found = rendered(tmp_path, values())
    assert not any("broker" in name for _, name in found)


def refused(tree):
    """Whether the schema refuses values, by the parts of JSON Schema that it uses."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema = pytest.importorskip("jsonschema", reason="no validator of schemas is here")
    return list(jsonschema.Draft7Validator(schema).iter_errors(tree))


def test_schema_takes_the_examples_and_refuses_slips():
    assert not refused(values())
    image = {"repository": "registry.example.com/securefl", "digest": ""}
    assert refused(values(image=image))
    assert refused(values(image=image | {"digest": "latest"}))
    assert refused(values(image=image | {"digest": DIGEST, "tag": "1"}))
    for slip in (
        {"role": "spectator"},
        {"tables": None},
        {"name": "North"},
        {"passphrase": "hunter2"},
        {"extraArguments": ["$(PASSPHRASE)"]},
    ):
        party = {key: value for key, value in (PARTIES[0] | slip).items() if value is not None}
        assert refused(values(parties=[party])), slip


def test_values_in_the_schema_and_the_file_are_the_same():
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["required"]) == set(values()) <= set(schema["properties"])
