"""A signed model: an independent tool accepts what `audit verify` accepts, and nothing else."""

import base64
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from securefl.audit.bundle.bundle import to_text
from securefl.audit.bundle.model_signature import read_signature, signed_bytes
from securefl.audit.sign import sign_model
from securefl.audit.verify import verify_file
from securefl.consortium.keys.model_keys import model_key
from securefl.errors import InputError, RunDirectoryError
from securefl.ml.tensor_io import write_tensors
from securefl.ml.vectors import ORDER, model_digest
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_mutations import CHEAT
from support.bundle_scenario import NOW, honest

OTHER = SigningKey(bytes([77] * 32))


@pytest.fixture(scope="module")
def run():
    return honest(rounds=2, masked=False)


@pytest.fixture
def signed(run, tmp_path):
    """A bundle, its model, and the model's signature and certificate by one member."""
    (tmp_path / "bundle.json").write_text(to_text(run.seal()))
    shared = np.linspace(-1, 1, 6).astype(np.float32)
    for _ in range(2):
        shared = shared + np.float32(0.125)
    assert model_digest(shared).hex() == run.model
    model = tmp_path / "model.safetensors"
    write_tensors(
        model, {"w": torch.from_numpy(shared)}, {"task": "recommendation", ORDER: json.dumps(["w"])}
    )
    key = run.keys[CHEAT]
    signature, root = sign_model(tmp_path / "bundle.json", model, key, tmp_path / "signed", NOW)
    return tmp_path / "bundle.json", model, signature, root


def judged(bundle, model, signature):
    audit = verify_file(bundle, model=model, signature=signature, now=NOW)
    return {check.name: check.verdict for check in audit.checks}


def accepted(model, signature, root):
    """What the tool of the model-signing project says."""
    tool = pytest.importorskip("model_signing", reason="model-signing is not installed (signing)")
    try:
        tool.verifying.Config().use_certificate_verifier(certificate_chain=[root]).verify(
            model, signature
        )
    except Exception:
        return False
    return True


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_an_independent_tool_accepts_a_released_model(signed):
    """By the certificate of the identity key, which is the key in the agreement."""
    bundle, model, signature, root = signed
    assert accepted(model, signature, root)
    found = judged(bundle, model, signature)
    assert (found["model-given"], found["model-signed"]) == ("pass", "pass")
    certificate = x509.load_pem_x509_certificate(root.read_bytes())
    assert certificate.public_key().public_bytes_raw() == read_signature(signature).identity


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_both_refuse_another_file(signed, run):
    """One byte of the file, a signature of another party, and one without the right chain."""
    bundle, model, signature, root = signed
    other = model_key(CHEAT, OTHER, NOW)
    stranger = root.with_name("stranger.pem")
    stranger.write_bytes(other.root.public_bytes(Encoding.PEM))
    assert not accepted(model, signature, stranger)
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert not accepted(model, signature, root)
    assert judged(bundle, model, signature)["model-signed"] == "fail"


def forged(signature, leaf, root, sign, payload=None):
    """The same file with other certificates and a signature over what it then says."""
    tree = json.loads(signature.read_text())
    envelope = tree["dsseEnvelope"]
    content = base64.b64decode(envelope["payload"]) if payload is None else payload
    envelope["payload"] = base64.b64encode(content).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(sign(signed_bytes(content))).decode()
    tree["verificationMaterial"]["x509CertificateChain"]["certificates"] = [
        {"rawBytes": base64.b64encode(one.public_bytes(Encoding.DER)).decode()}
        for one in (leaf, root)
    ]
    path = signature.with_name("forged.sig")
    path.write_text(json.dumps(tree))
    return path


def test_a_signature_that_a_party_did_not_make(signed, run):
    """A stranger's, a stranger's key under a member's certificate, and a leaf as its own root."""
    bundle, model, signature, _ = signed
    own, other = model_key(CHEAT, run.keys[CHEAT], NOW), model_key(CHEAT, OTHER, NOW)
    for leaf, root, sign in (
        (other.leaf, other.root, other.sign),
        (other.leaf, own.root, other.sign),
        (own.leaf, own.root, other.sign),
        (own.root, own.root, own.sign),
    ):
        path = forged(signature, leaf, root, sign)
        assert judged(bundle, model, path)["model-signed"] == "fail"
    fine = forged(signature, own.leaf, own.root, own.sign)
    assert judged(bundle, model, fine)["model-signed"] == "pass"


def test_only_the_runs_own_model_is_signed(signed, run, tmp_path):
    """By a party of the agreement, after an audit, into a new folder."""
    bundle, model, _, _ = signed
    key = run.keys[CHEAT]
    with pytest.raises(RunDirectoryError, match="exists"):
        sign_model(bundle, model, key, tmp_path / "signed", NOW)
    with pytest.raises(InputError, match="no member's"):
        sign_model(bundle, model, OTHER, tmp_path / "new", NOW)
    write_tensors(
        model, {"w": torch.zeros(6)}, {"task": "recommendation", ORDER: json.dumps(["w"])}
    )
    with pytest.raises(InputError, match="no round ended with this model"):
        sign_model(bundle, model, key, tmp_path / "new", NOW)
    assert not (tmp_path / "new").exists()


def test_a_key_for_models_follows_from_the_identity(run):
    """The same one at every time and on every machine, and of no other identity."""
    one = model_key("north", run.keys[CHEAT], NOW)
    later = model_key("north", run.keys[CHEAT], NOW + timedelta(days=9))
    assert one.leaf.public_key() == later.leaf.public_key()
    assert one.leaf.public_key() != model_key("north", OTHER, NOW).leaf.public_key()
    assert isinstance(one.leaf.public_key().curve, ec.SECP256R1)
    assert one.sign(b"x") == later.sign(b"x")


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"mediaType": "x"}'])
def test_what_is_no_signature_is_one_line(tmp_path, text):
    """Whatever its form."""
    path = tmp_path / "model.sig"
    path.write_text(text)
    with pytest.raises(InputError, match=r"model\.sig"):
        read_signature(path)


def test_a_signature_needs_its_model(signed):
    """Without the file nothing can be said of it."""
    bundle, _, signature, _ = signed
    with pytest.raises(InputError, match="--model"):
        verify_file(bundle, signature=signature, now=datetime.now(UTC))
