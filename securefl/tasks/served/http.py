"""A model behind HTTP, for programs on the same machine: bounded requests, one clear error each."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import pandas as pd
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from securefl._version import __version__
from securefl.config.base import Settings
from securefl.errors import InputError
from securefl.tasks.served.loopback import LOOPBACK
from securefl.tasks.served.model import Model
from securefl.untrusted.documents import parse_json
from securefl.untrusted.text import one_line

LARGEST_BODY: Final = 1 << 20
"""Bytes of a request."""
_MOST: Final = 1_000
"""Customers of a request, products of a list, and steps of a forecast."""

Label = Annotated[str, Field(min_length=1, max_length=200)] | int
Labels = Annotated[list[Label], Field(min_length=1, max_length=_MOST)]
Count = Annotated[int, Field(ge=1, le=_MOST)]
Date = Annotated[str, Field(max_length=40)]


class Purchase(Settings):
    """A line of a receipt, under the retailer's own labels."""

    customer: Label
    product: Label
    time: Date
    quantity: float = 1.0
    value: float = 0.0
    discount: float = 0.0
    basket: Label | None = None


class Asked(Settings):
    """What all requests have in common."""

    purchases: Annotated[list[Purchase], Field(min_length=1, max_length=20_000)] | None = Field(
        None, description="Purchases to answer from, in place of the data that are served."
    )
    as_of: Date | None = Field(None, description="The moment from which on nothing is known.")

    def data(self) -> pd.DataFrame | None:
        """Return the purchases as a table; None where none are given."""
        if self.purchases is None:
            return None
        table = pd.DataFrame([one.model_dump() for one in self.purchases])
        return table.drop(columns="basket") if table["basket"].isna().any() else table


class RecommendAsked(Asked):
    """Body of `/recommend`."""

    customers: Labels | None = Field(None, description="Their labels; a stranger's is allowed.")
    k: Count = 10
    departments: list[str] = Field([], max_length=100)
    without_departments: list[str] = Field([], max_length=100)
    candidates: Labels | None = None
    keep_bought: bool = False
    new_products: bool = False


class ForecastAsked(Asked):
    """Body of `/forecast`."""

    h: Count = 1
    interval: Annotated[float, Field(gt=0, lt=1)] = 0.8


class ScoreAsked(Asked):
    """Body of `/score`: probabilities, prices or order levels."""

    customers: Labels | None = None


def _recommend(model: Model, asked: RecommendAsked) -> pd.DataFrame:
    if asked.customers is None and asked.purchases is None:
        raise InputError("customers: say for whom, or give their purchases")
    fields = {name: getattr(asked, name) for name in RecommendAsked.model_fields}
    del fields["purchases"]
    return model.recommend(**fields, data=asked.data())


def _forecast(model: Model, asked: ForecastAsked) -> pd.DataFrame:
    return model.forecast(asked.h, data=asked.data(), interval=asked.interval, as_of=asked.as_of)


def _score(model: Model, asked: ScoreAsked) -> pd.DataFrame:
    if model.verb == "predict_proba":
        return model.predict_proba(asked.customers, data=asked.data(), as_of=asked.as_of)
    if asked.customers is not None:
        raise InputError("customers: this model's answers are for none")
    return model.predict(data=asked.data(), as_of=asked.as_of)


Answer = Callable[[Model, Any], pd.DataFrame]
_ANSWERS: Final[dict[str, tuple[type[Asked], Answer]]] = {
    "/recommend": (RecommendAsked, _recommend),
    "/forecast": (ForecastAsked, _forecast),
    "/score": (ScoreAsked, _score),
}
_OF_VERB: Final = {"recommend": "/recommend", "forecast": "/forecast"}


def application(model: Model) -> Starlette:
    """Return the application that answers with a model.

    Requests for another host are refused: a page in a browser must not reach it under a name that
    was made to mean this machine.
    """
    path = _OF_VERB.get(model.verb, "/score")
    kind, answer = _ANSWERS[path]
    routes = [
        Route(path, _endpoint(model, kind, answer), methods=["POST"]),
        Route("/healthz", _constant(_health(model)), methods=["GET"]),
        Route("/openapi.json", _constant(openapi(model, path, kind)), methods=["GET"]),
        Route("/", _page(openapi(model, path, kind)), methods=["GET"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    return Starlette(
        routes=routes,
        middleware=[hosts],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def openapi(model: Model, path: str, kind: type[Asked]) -> dict[str, Any]:
    """Return the description of what is answered, in OpenAPI 3.1."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs", {})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{model.manifest.task} of {model.manifest.member}",
            "version": __version__,
            "description": f"Digest of the shared part: {model.manifest.digest}",
        },
        "paths": {
            path: {
                "post": {
                    "summary": f"What `{model.verb}` returns, as a list of rows",
                    "requestBody": {"content": {"application/json": {"schema": schema}}},
                    "responses": {
                        "200": {"description": "`rows`, each an object"},
                        "400": {"description": "`error`, one line"},
                        "413": {"description": "The body is too large"},
                    },
                }
            },
            "/healthz": {"get": {"responses": {"200": {"description": "It answers"}}}},
        },
        "components": {"schemas": parts},
    }


def _endpoint(
    model: Model, kind: type[Asked], answer: Answer
) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        body = await _body(request)
        try:
            tree = parse_json(body.decode(), "body") if body else {}
            asked = kind.model_validate(tree)
            rows = await run_in_threadpool(answer, model, asked)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "body"
            raise HTTPException(400, one_line(f"{place}: {first['msg']}")) from None
        except UnicodeDecodeError:
            raise HTTPException(400, "body: it is no UTF-8 text") from None
        except InputError as error:
            raise HTTPException(400, one_line(str(error))) from None
        text = rows.to_json(orient="records", date_format="iso", double_precision=15)
        return Response(f'{{"rows": {text}}}', media_type="application/json")

    return answered


async def _body(request: Request) -> bytes:
    """Return the body, which is read no further than allowed."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY:,} bytes")
    return bytes(found)


def _health(model: Model) -> dict[str, Any]:
    about = model.manifest
    return {
        "status": "ok",
        "task": about.task,
        "model": about.model,
        "member": about.member,
        "digest": about.digest,
        "version": __version__,
    }


def _constant(tree: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        del request
        return JSONResponse(tree)

    return answered


def _page(tree: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return the page of the description: what is asked and answered, without any script."""
    from html import escape

    title, text = escape(tree["info"]["title"]), escape(json.dumps(tree, indent=2))
    html = f"<!doctype html><title>{title}</title><h1>{title}</h1><pre>{text}</pre>"

    async def answered(request: Request) -> Response:
        del request
        return HTMLResponse(html)

    return answered


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = str(error.detail)
    if error.status_code == 404:
        found = f"nothing at {request.url.path}; see /openapi.json"
    return JSONResponse({"error": one_line(found)}, status_code=error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer a bug without its text, which may hold data."""
    del request
    return JSONResponse({"error": f"internal error: {type(error).__name__}"}, status_code=500)
