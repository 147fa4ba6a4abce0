"""The MLflow flavour: `mlflow` loads it, and serves it."""

import json
import threading
import time
import urllib.request
import warnings

import pandas as pd
import pytest

from securefl.errors import InputError
from securefl.tasks.served.mlflow_flavour import ServedByMlflow, write_mlflow
from support.brokers import free_port


@pytest.fixture(scope="module")
def mlflow():
    """MLflow, which warns of type hints of its own when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mlflow.pyfunc", reason="the extra 'mlflow' is not installed")


@pytest.fixture(scope="module")
def invoked(mlflow):
    """Asks MLflow's own scoring server."""
    uvicorn = pytest.importorskip("uvicorn")
    from mlflow.pyfunc.scoring_server import init

    def call(model, body):
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(init(model), port=port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        question = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(question, timeout=30) as answer:
            found = json.loads(answer.read())["predictions"]
        server.should_exit = True
        thread.join(10)
        return pd.DataFrame(found)

    return call


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_and_serves_a_model(mlflow, invoked, held, tmp_path):
    """The same lists as in process, from a folder without any pickle."""
    found = held("recommendation").opened
    write_mlflow(found, tmp_path / "flavour")
    assert not [one for one in tmp_path.rglob("*") if one.suffix in {".pkl", ".pickle", ".pt"}]
    loaded = mlflow.load_model(str(tmp_path / "flavour"))
    assert set(loaded.metadata.flavors) == {"python_function", "securefl"}
    wanted = found.recommend([3, 5], k=4)
    asked = pd.DataFrame({"customer": [3, 5]})
    pd.testing.assert_frame_equal(loaded.predict(asked, params={"k": 4}), wanted)
    served = invoked(loaded, {"dataframe_split": asked.to_dict("split"), "params": {"k": 4}})
    assert served["product"].tolist() == wanted["product"].tolist()
    with pytest.raises(InputError, match="exists; nothing was written"):
        write_mlflow(found, tmp_path / "flavour")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_forecasts_and_scores(mlflow, held, tmp_path):
    for name, params in (("demand", {"h": 2}), ("churn", None)):
        found = held(name).opened
        write_mlflow(found, tmp_path / name)
        loaded = mlflow.load_model(str(tmp_path / name))
        answer = loaded.predict(pd.DataFrame(), params=params)
        verb = found.forecast(2) if params else found.predict_proba()
        pd.testing.assert_frame_equal(answer, verb)


def test_a_question_is_customers_or_purchases(held):
    """MLflow's part is a table, whatever the task."""
    asked = ServedByMlflow(held("recommendation").opened)
    bought = pd.DataFrame({"customer": "x", "product": [3, 5], "time": "2026-03-02"})
    assert set(asked.predict(bought, {"k": 2})["basis"]) == {"history"}
    with pytest.raises(InputError, match="give purchases"):
        asked.predict(pd.DataFrame({"colour": ["red"]}))
    with pytest.raises(InputError, match="task 'demand' has no customers"):
        ServedByMlflow(held("demand").opened).predict(pd.DataFrame({"customer": [3]}))
