"""A served model: lists for many customers at once, and over HTTP, beside calls in process.

Two cores. `batch` is 100,000 customers of 10,000 generated products, 25 purchases each, who came
after a run of 2,000 others and are served from what they bought: the
command `securefl predict` from its start to a written CSV file, the lists alone in this process,
and `implicit`'s batch recommend (extra `bench`) with as many factors, whose customers' vectors are
given to it while ours are computed from their purchases; `ratio` compares with it. `http` asks
`securefl serve`, a process of its own, from clients with one connection each, for one customer's
ten products, beside the same question in process. CPU seconds are of all threads; `load` is the
machine's load average, without which seconds and times of answers say little.
"""

import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from harness import Row, main, peak_megabytes
from securefl.config.load import load_config
from securefl.federation.runs.prepare import prepare
from securefl.ml.parameters import local_state, shared_vector
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.served.model import Model, open_model
from securefl.tasks.served.writing import Provenance, write_member_model

PRODUCTS, BOUGHT, DIM, K = 10_000, 25, 32, 10
CORES = 2
PORT = 18_080
RUN = 2_000
"""Customers of the run; those who are served came later."""
MEMBERS = ("north", "south", "east")


def benchmark(quick: bool) -> list[Row]:
    customers = 5_000 if quick else 100_000
    os.environ |= {"OMP_NUM_THREADS": str(CORES), "OPENBLAS_NUM_THREADS": "1"}
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = held(folder)
        purchases_of(customers, folder / "now")
        rows = [command(folder, customers), *lists(model, customers)]
        return rows + [asked(folder, model, clients, quick) for clients in (1, 8)]


def purchases_of(customers: int, folder: Path) -> None:
    """Write a member's purchases under labels as text, five lines a basket."""
    random = np.random.default_rng(customers)
    share, count = 1 / np.arange(10, PRODUCTS + 10), customers * BOUGHT
    baskets = np.arange(count) // 5
    hours = random.integers(0, 365 * 24, baskets[-1] + 1)[baskets]
    lines = pd.DataFrame(
        {
            "customer": np.repeat([f"c{n}" for n in range(customers)], BOUGHT),
            "product": random.choice(PRODUCTS, count, p=share / share.sum()),
            "time": pd.Timestamp("2025-01-01") + pd.to_timedelta(hours, unit="h"),
            "quantity": 1,
            "value": 1.0,
            "basket": baskets,
        }
    )
    folder.mkdir(exist_ok=True)
    catalogue = pd.DataFrame({"product": np.arange(PRODUCTS)})
    catalogue["department"] = [f"department {n % 20}" for n in range(PRODUCTS)]
    catalogue["category"] = [f"category {n % 200}" for n in range(PRODUCTS)]
    catalogue.to_csv(folder / "catalogue.csv", index=False)
    lines.to_parquet(folder / f"{MEMBERS[0]}.parquet")
    for name in MEMBERS[1:]:
        lines.iloc[: 100 * BOUGHT].to_parquet(folder / f"{name}.parquet")


def held(folder: Path) -> Model:
    """A member's model that has been trained on nothing: its speed does not depend on it."""
    purchases_of(RUN, folder / "run")
    members = [{"name": n, "transactions": f"{n}.parquet"} for n in MEMBERS]
    tree = {
        "task": "recommendation",
        "model": {"name": "mf", "dim": DIM},
        "recommendation": {"min_households": 1, "min_products": 10},
        "references": {"enabled": False},
        "data": {
            "source": "files",
            "root": str(folder / "run"),
            "catalogue": "catalogue.csv",
            "columns": {"basket": "basket"},
            "members": members,
        },
    }
    prepared = prepare(load_config(None, tree))
    problem = LocalProblem(prepared.config, prepared.task, prepared.facts, prepared.members[0])
    network = problem.fresh_model("benchmark")
    write_member_model(
        folder / "model",
        problem,
        shared_vector(network),
        local_state(network),
        vocabulary=prepared.vocabulary,
        provenance=Provenance(MEMBERS, "-", bytes(32), "nothing."),
    )
    return open_model(folder / "model", folder / "now")


def command(folder: Path, customers: int) -> Row:
    """`securefl predict` for all customers: reading, lists, and a CSV file."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    places = ("--data", str(folder / "now"), "--out", str(folder / "lists.csv"))
    words = ("predict", str(folder / "model"), *places, "--quiet")
    subprocess.run(called(*words), check=True, stdout=subprocess.DEVNULL)
    seconds, after = (
        time.perf_counter() - started,
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"seconds": seconds, "cpu_seconds": cpu, "customers_a_second": customers / seconds}
    case = f"batch, {customers:,} customers: securefl predict"
    return Row(case, figures | {"peak_mb": after.ru_maxrss / 1024, "load": os.getloadavg()[0]})


def called(*words: str) -> list[str]:
    call = "import sys; from securefl_cli.main import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", call, *words]


def lists(model: Model, customers: int) -> list[Row]:
    """All lists in this process, and those of `implicit`."""
    import implicit

    model.read_data()
    bought = purchases(model)
    other = implicit.als.AlternatingLeastSquares(factors=DIM, num_threads=CORES)
    random = np.random.default_rng(1)
    other.user_factors = random.normal(size=(bought.shape[0], DIM)).astype(np.float32)
    other.item_factors = random.normal(size=(bought.shape[1], DIM)).astype(np.float32)
    every = np.arange(bought.shape[0])
    case = f"batch, {customers:,} customers: "
    theirs = timed(lambda: other.recommend(every, bought, N=K, filter_already_liked_items=True))
    ours = timed(lambda: sum(len(frame) for frame in model.stream(request())))
    ratio = {f"ratio_{name}": ours[name] / theirs[name] for name in ("seconds", "cpu_seconds")}
    return [
        Row(f"{case}lists alone", ours | ratio | {"peak_mb": peak_megabytes()}),
        Row(f"{case}implicit", theirs),
    ]


def request():
    from securefl.tasks.common.serving import Request

    return Request(k=K)


def purchases(model: Model):
    """Customers by products, as `implicit` wants them."""
    from scipy.sparse import csr_matrix

    lines = model.read().tables.transactions
    rows = np.unique(lines["customer"], return_inverse=True)[1]
    cells = (np.ones(len(lines), dtype=np.float32), (rows, lines["product"].to_numpy()))
    return csr_matrix(cells, shape=(rows.max() + 1, PRODUCTS))


def timed(call: Callable[[], object]) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    call()
    found = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    return found | {"load": os.getloadavg()[0]}


def asked(folder: Path, model: Model, clients: int, quick: bool) -> Row:
    """Questions for one customer over HTTP, and the same in process by as many threads."""
    seconds = 2.0 if quick else 5.0
    words = ("serve", str(folder / "model"), "--data", str(folder / "now"), "--port", str(PORT))
    server = subprocess.Popen(called(*words), stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        assert "answers" in server.stderr.readline()
        links = [http.client.HTTPConnection("127.0.0.1", PORT) for _ in range(clients)]
        found = answered([over(link) for link in links], seconds)
        memory = resident(server.pid)
    finally:
        server.terminate()
        server.wait()
    inside = answered([within(model)] * clients, seconds)
    figures = {f"http_{name}": value for name, value in found.items()}
    figures |= {f"process_{name}": value for name, value in inside.items()}
    return Row(
        f"http, {clients} clients, one list of ten each",
        figures | {"server_mb": memory, "load": os.getloadavg()[0]},
    )


def over(link: http.client.HTTPConnection) -> Callable[[int], object]:
    def call(number: int) -> object:
        body = json.dumps({"customers": [f"c{number}"], "k": K})
        link.request("POST", "/recommend", body)
        answer = link.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return text

    return call


def within(model: Model) -> Callable[[int], object]:
    return lambda number: model.recommend([f"c{number}"], k=K)


def answered(calls: list[Callable[[int], object]], seconds: float) -> dict[str, float]:
    """Questions a second and their times, by as many threads as there are calls."""
    times: list[list[float]] = [[] for _ in calls]
    calls[0](0)  # data are read at the first question
    end = time.perf_counter() + seconds

    def ask(place: int) -> None:
        number = place
        while time.perf_counter() < end:
            started = time.perf_counter()
            calls[place](number % 5_000)
            times[place].append(time.perf_counter() - started)
            number += len(calls)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = 1000 * np.concatenate([np.array(one) for one in times])
    middle, late = np.quantile(every, [0.5, 0.99])
    return {"a_second": len(every) / seconds, "p50_ms": float(middle), "p99_ms": float(late)}


def resident(process: int) -> float:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main(__doc__.partition("\n")[0], benchmark)
