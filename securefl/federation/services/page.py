"""The live page: the status of this process for a person with a browser on the same machine.

It shows what `securefl status` says, and takes no orders: every path is read alone. Names come from
other parties, so that everything is escaped, and the page runs no script but its own.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from securefl.errors import SecureflError
from securefl.federation.services.status_words import MEMBER_COLUMNS, view
from securefl.tasks.served.loopback import LOOPBACK
from securefl.untrusted.text import one_line, shown

Status = Callable[[], dict[str, Any]]
_EVERY: Final = 1.0
_MOST_STREAMS: Final = 8
_TEMPLATE: Final = "live.html.j2"


class LivePage:
    """The page of one status.

    Args:
        status: Returns the status, as `read_any_status` does.
        place: The folder of its file, as a person names it to `securefl status`.
    """

    def __init__(self, status: Status, place: str) -> None:
        self._status, self._place = status, place
        self._streams = 0
        environment = Environment(
            loader=PackageLoader("securefl.federation.services"),
            autoescape=True,
            finalize=_visible,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["columns"] = MEMBER_COLUMNS
        self._template = environment.get_template(_TEMPLATE)
        self._style, self._script = _own("live.css"), _own("live.js")

    def application(self) -> Starlette:
        """Return the application that serves it."""
        return Starlette(
            routes=[
                Route("/", self._whole, methods=["GET"]),
                Route("/events", self._events, methods=["GET"]),
            ],
            middleware=[
                Middleware(Guard, policy=self.policy()),
                Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"]),
            ],
            exception_handlers={HTTPException: _refused},
        )

    def policy(self) -> str:
        """Return the content security policy: this page's own style and script, and no other."""
        return "; ".join(
            [
                "default-src 'none'",
                f"style-src {_digest(self._style)}",
                f"script-src {_digest(self._script)}",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )

    def html(self) -> str:
        """Return the whole page as it is now."""
        found, problem = self._found()
        return self._template.render(
            view=found,
            problem=problem,
            place=self._place,
            style=Markup(self._style),  # noqa: S704 - our own file
            script=Markup(self._script),  # noqa: S704 - our own file
        )

    def part(self) -> str:
        """Return the part of the page that changes, as it is now."""
        module = self._template.make_module(
            {"view": None, "problem": "", "place": "", "style": "", "script": ""}
        )
        return str(module.live(*self._found()))  # type: ignore[attr-defined]

    def _found(self) -> tuple[Any, str]:
        try:
            return view(self._status()), ""
        except SecureflError as error:
            return None, one_line(str(error))

    async def _whole(self, request: Request) -> Response:
        del request
        return HTMLResponse(await asyncio.to_thread(self.html))

    async def _events(self, request: Request) -> Response:
        del request
        if self._streams >= _MOST_STREAMS:
            raise HTTPException(503, "too many pages are open")
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        self._streams += 1
        try:
            while True:
                yield f"data: {json.dumps(await asyncio.to_thread(self.part))}\n\n"
                await asyncio.sleep(_EVERY)
        finally:
            self._streams -= 1


class Guard:
    """Refuses what is not GET, and adds to every answer what browsers need to keep it apart."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {
                "content-security-policy": policy,
                "cache-control": "no-store",
                "cross-origin-opener-policy": "same-origin",
                "cross-origin-resource-policy": "same-origin",
                "referrer-policy": "no-referrer",
                "x-content-type-options": "nosniff",
                "x-frame-options": "DENY",
            }.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        if scope["type"] == "http" and scope["method"] != "GET":
            refusal = PlainTextResponse("this page is only read: GET\n", 405, {"allow": "GET"})
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def _own(name: str) -> str:
    file = resources.files("securefl.federation.services") / "templates" / name
    return file.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{found}'"


def _visible(value: object) -> object:
    """Return what a placeholder shows: autoescaping disarms markup, but no control character."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{one_line(str(error.detail))}\n", error.status_code)
