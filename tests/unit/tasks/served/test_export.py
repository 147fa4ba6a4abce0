"""Exports compute what the model computes, and vectors order products as lists do."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.errors import InputError
from securefl.tasks.served.export import export_model, export_vectors
from support.carried import LISTS, OTHERS

NETWORKS = (*LISTS, *OTHERS, "sequential", "transfer", "inventory")


@pytest.mark.parametrize(
    "name",
    [name if name == "churn" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_onnx_computes_the_same(name, held, tmp_path):
    """On random inputs of lengths that the export was not made with."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    found = held(name)
    assert export_model(found.opened, "onnx", tmp_path / "out") < 1e-5
    about = json.loads((tmp_path / "out" / "model.json").read_bytes())
    assert about["digest"] == found.opened.manifest.digest
    session = runtime.InferenceSession(
        (tmp_path / "out" / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    graph = found.opened.opened.served.graph()
    arguments = graph.example(1234)
    used = {one.name for one in session.get_inputs()}
    named = zip([one["name"] for one in about["inputs"]], arguments, strict=True)
    fed = {key: value.numpy() for key, value in named if key in used}
    with torch.no_grad():
        wanted = graph.network(*arguments).numpy()
    assert session.run([about["output"]], fed)[0] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["recommendation", "demand-private"])
def test_torch_computes_the_same(name, held, tmp_path):
    found = held(name)
    assert export_model(found.opened, "torch", tmp_path / "out") < 1e-6
    loaded = torch.export.load(tmp_path / "out" / "model.pt2").module()
    graph = found.opened.opened.served.graph()
    arguments = graph.example(99)
    assert torch.allclose(loaded(*arguments), graph.network(*arguments), atol=1e-6)


@pytest.mark.slow
def test_an_exported_list_is_the_models_own(shop, tmp_path):
    """A customer's history as rows of `model.json` gives the scores of their list."""
    runtime = pytest.importorskip("onnxruntime")
    export_model(shop.opened, "onnx", tmp_path / "out")
    about = json.loads((tmp_path / "out" / "model.json").read_bytes())
    row = {label: place for place, label in enumerate(about["rows"]["products"])}
    bought = sorted(row[one] for one in ("p-101", "p-102"))
    data = {"customer": "new", "product": ["p-101", "p-102"], "time": ["2026-03-02"] * 2}
    listed = shop.opened.recommend(["new"], k=30, data=pd.DataFrame(data))
    session = runtime.InferenceSession((tmp_path / "out" / "model.onnx").read_bytes())
    fed = {
        "customer": np.array([len(shop.opened.opened.served.own.rows)]),
        "items": np.array([bought]),
        "present": np.ones((1, 2), dtype=np.float32),
        "baskets": np.zeros((1, 2), dtype=np.int64),
    }
    scores = session.run(None, fed)[0][0]
    assert listed["score"].to_numpy() == pytest.approx(
        scores[[row[one] for one in listed["product"]]], rel=1e-4
    )


def test_a_model_that_is_no_network_is_refused(held, tmp_path):
    with pytest.raises(InputError, match="no single network; try --format mlflow"):
        export_model(held("pricing").opened, "onnx", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists; nothing was written"):
        export_model(held("churn").opened, "torch", tmp_path / "out")


@pytest.mark.parametrize("name", ["recommendation", "sequential"])
def test_vectors_order_products_as_lists_do(name, held, tmp_path):
    found = held(name)
    counts = export_vectors(found.opened, tmp_path / "vectors.npz")
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert counts == (len(arrays["products"]), len(arrays["customers"]))
    scores = arrays["customer_vectors"] @ arrays["product_vectors"].T
    listed = found.opened.recommend(k=5)
    listed = listed[listed["basis"] != "popular"]
    customer = {one: place for place, one in enumerate(arrays["customers"].tolist())}
    product = {one: place for place, one in enumerate(arrays["products"].tolist())}
    rows = [customer[str(one)] for one in listed["customer"]]
    columns = [product[str(one)] for one in listed["product"]]
    assert scores[rows, columns] == pytest.approx(listed["score"].to_numpy(), rel=1e-3, abs=1e-4)
    with pytest.raises(InputError, match="exists; nothing was written"):
        export_vectors(found.opened, tmp_path / "vectors.npz")
    with pytest.raises(InputError, match="vectors are written as"):
        export_vectors(found.opened, tmp_path / "vectors.csv")


def test_a_blend_has_no_vectors(held, tmp_path):
    with pytest.raises(InputError, match="profile model serves is no inner product"):
        export_vectors(held("profile").opened, tmp_path / "vectors.npz")
    assert not list(tmp_path.iterdir())
