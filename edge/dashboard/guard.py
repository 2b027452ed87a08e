"""Before any page: the name we are called by, who may look, and who may change something."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.dashboard.access import COOKIE
from edge.dashboard.site import Site

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+){1,8}")


class Guard:
    """Middleware."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if _host(request) not in self._site.hosts:  # a name that somebody made to lead here
            await PlainTextResponse("called by a name that is not mine; see --host", 400)(scope, receive, send)
            return
        if self._site.behind_proxy:
            prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
            if _PREFIX.fullmatch(prefix):
                scope["root_path"] = prefix
                scope["path"] = prefix + scope["path"]
            if request.headers.get("X-Forwarded-Proto") == "https":
                scope["scheme"] = "https"
        base = scope.get("root_path", "")
        path = scope["path"].removeprefix(base)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"same-origin"),
                ]
            await send(message)

        answer: ASGIApp = self._app
        if not (path == "/login" or path.startswith("/static/")) and not self._site.door.lets_in(
            request.cookies.get(COOKIE)
        ):
            part = request.headers.get("X-Part") or path == "/stream"
            answer = PlainTextResponse("log in first", 401) if part else RedirectResponse(f"{base}/login", 303)
        elif request.method == "POST" and not _ours(request):
            answer = PlainTextResponse("from another page", 403)
        await answer(scope, receive, guarded)


def _host(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        return None


def _ours(request: Request) -> bool:
    """Whether a form was sent by a page of ours."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    return urlsplit(origin).netloc == request.headers.get("Host")
