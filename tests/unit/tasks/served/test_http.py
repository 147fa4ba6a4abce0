"""A model over HTTP: the rows that it gives in process, and one clear line for bad input."""

import http.client
import json
import threading
import time

import pandas as pd
import pytest

from support.brokers import free_port


@pytest.fixture(scope="module")
def serving():
    """Serves models on ports of their own, until the tests are over."""
    uvicorn = pytest.importorskip("uvicorn")
    from securefl.tasks.served.http import application

    running = []

    def start(model):
        port = free_port()
        settings = uvicorn.Config(
            application(model), host="127.0.0.1", port=port, log_level="error", lifespan="off"
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return port

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def ask(serving, held):
    """Asks a task's model; the status, and the answer."""
    ports = {}

    def call(name, path, body=None, *, method="POST", host="127.0.0.1"):
        if name not in ports:
            ports[name] = serving(held(name).opened)
        link = http.client.HTTPConnection("127.0.0.1", ports[name], timeout=30)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        link.request(method, path, content, {"Host": host})
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    return call


def test_lists_are_those_of_the_model(ask, held):
    status, found = ask("recommendation", "/recommend", {"customers": [3, 5, "new"], "k": 4})
    wanted = held("recommendation").opened.recommend([3, 5, "new"], k=4)
    assert status == 200
    pd.testing.assert_frame_equal(pd.DataFrame(found["rows"]), wanted, check_dtype=False)
    bought = [{"customer": "x", "product": int(wanted["product"].iloc[0]), "time": "2026-03-02"}]
    status, found = ask("recommendation", "/recommend", {"purchases": bought, "k": 2})
    assert (status, len(found["rows"]), found["rows"][0]["basis"]) == (200, 2, "history")


def test_forecasts_and_scores(ask, held):
    status, found = ask("demand", "/forecast", {"h": 1})
    rows = pd.DataFrame(found["rows"])
    assert status == 200
    assert rows["forecast"].tolist() == held("demand").opened.forecast(1)["forecast"].tolist()
    status, found = ask("churn", "/score", b"")
    assert status == 200
    assert len(found["rows"]) == len(held("churn").opened.predict_proba())


def test_health_and_description(ask):
    status, found = ask("churn", "/healthz", method="GET")
    assert (status, found["status"], found["task"]) == (200, "ok", "churn")
    status, found = ask("churn", "/openapi.json", method="GET")
    assert (status, list(found["paths"])) == (200, ["/score", "/healthz"])
    status, page = ask("churn", "/", method="GET")
    assert status == 200
    assert "churn of retailer-0" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("/recommend", {"customers": [1], "k": 0}, 400, "k: Input should be greater"),
        ("/recommend", {"customers": [1], "k": 5000}, 400, "k: Input should be less"),
        ("/recommend", {"customers": [1], "k": 999}, 400, "k is 999, but only 1 to"),
        ("/recommend", {"customers": []}, 400, "customers: "),
        ("/recommend", {}, 400, "customers: say for whom"),
        ("/recommend", {"customers": [1], "colour": "red"}, 400, "colour: Extra inputs"),
        ("/recommend", {"customers": [1], "as_of": "soon"}, 400, "'soon' is no date"),
        (
            "/recommend",
            {"customers": [1], "departments": ["x"]},
            400,
            "no product is of department",
        ),
        ("/recommend", b"{", 400, "is no valid JSON"),
        ("/recommend", b"\xff", 400, "it is no UTF-8 text"),
        ("/recommend", b"[" * 5000, 400, "nested deeper"),
        ("/recommend", b" " * (1 << 20) + b"{}", 413, "larger than 1,048,576 bytes"),
        ("/forecast", {"h": 1}, 404, "nothing at /forecast"),
    ],
)
def test_bad_requests_are_one_line(path, body, status, line, ask):
    found = ask("recommendation", path, body)
    assert found[0] == status, found
    assert line in found[1]["error"]
    assert "\n" not in found[1]["error"]


def test_other_hosts_and_methods_are_refused(ask):
    """A page in a browser cannot reach it under a name of its own."""
    assert ask("churn", "/healthz", method="GET", host="evil.example")[0] == 400
    assert ask("churn", "/score", method="GET")[0] == 405
