"""The pages, and the stream that says when what they show is old. A sub-path will do."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from contracts.vocabulary import PHASES
from edge.dashboard import scenes
from edge.dashboard.access import COOKIE, DAYS
from edge.dashboard.drawing import LETTERS, Wide, columns, timeline
from edge.dashboard.guard import Guard
from edge.dashboard.history import now_ns
from edge.dashboard.site import Site

_HERE = Path(__file__).parent
CHANGES_S, BEAT_S = 0.5, 2.0
"""The stream says `changed` at most twice a second, and `beat` where nothing has."""
_LARGEST_FORM = 16_384
_PAGES = ("overview", "scorecard", "confusion", "profiles", "performance", "alarms")


class Pages:
    """The answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        loader = jinja2.FileSystemLoader(_HERE / "templates")
        self._jinja = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        self._jinja.globals.update(
            words=scenes.words,
            ago=scenes.ago,
            letters=LETTERS,
            phases=PHASES,
            quote=quote,
            heat=scenes.heat,
            pages=_PAGES,
        )
        self._kept: dict[str, tuple[int, float, str]] = {}
        self._keeping = threading.Lock()

    # each page whole, or the part of it that lives

    def overview(self, request: Request) -> Response:
        """All guests."""
        asked = {name: request.query_params.get(name, "")[:80] for name in ("search", "node", "phase", "alarm")}
        return self._page(request, "overview", lambda: scenes.overview(self._site.board, asked))

    def guest(self, request: Request) -> Response:
        """One guest: a stretch of one episode."""
        return self._page(request, "guest", lambda: self._guest(request).scene(dict(request.query_params)))

    def window(self, request: Request) -> Response:
        """The window under the cursor, as a part of the guest's page."""
        guest, asked = self._guest(request), request.query_params
        episode, _ = guest.episode(asked.get("episode"))
        at = asked.get("at", "")
        if episode is None or scenes.whole(at) is None:
            return PlainTextResponse("no such window", 404)
        scene = {"one": guest.one, "episode": episode, "window": guest.window(episode, int(at), int(at))}
        return self._html(self._render(request, "window", scene))

    def scorecard(self, request: Request) -> Response:
        """How good the models are."""
        return self._page(request, "scorecard", lambda: {"cards": self._cards("metrics")})

    def confusion(self, request: Request) -> Response:
        """Truth against decision."""
        return self._page(request, "confusion", lambda: {"cards": self._cards("confusion")})

    def profiles(self, request: Request) -> Response:
        """By profile."""
        return self._page(request, "profiles", lambda: {"cards": self._cards("profiles")})

    def performance(self, request: Request) -> Response:
        """What the agents cost."""
        return self._page(
            request, "performance", lambda: {"guests": scenes.performance(self._site.board, self._site.history)}
        )

    def alarms(self, request: Request) -> Response:
        """The last hundred."""
        return self._page(request, "alarms", lambda: {"alarms": scenes.alarms(self._site.board, self._site.history)})

    def _cards(self, kind: str) -> list[scenes.Card]:
        return scenes.cards(self._site.board, self._site.history, kind)

    def _guest(self, request: Request) -> scenes.Guest:
        """Raises `KeyError`."""
        return scenes.Guest(
            self._site.board, self._site.history, request.path_params["node"], request.path_params["guest"]
        )

    # what leaves the page

    def export(self, request: Request) -> Response:
        """A stretch as CSV or SVG."""
        guest, asked = self._guest(request), request.query_params
        episode, _ = guest.episode(asked.get("episode"))
        if episode is None:
            return PlainTextResponse("no episode", 404)
        first, last = guest.span(episode, scenes.whole(asked.get("from")), scenes.whole(asked.get("to")))
        name = f"{guest.one.node}-{guest.one.guest}-{first // 10**9}"
        if request.path_params["form"] == "csv":
            text = io.StringIO()
            csv.writer(text).writerows(guest.rows(episode, first, last))
            return _file(text.getvalue(), "text/csv; charset=utf-8", f"{name}.csv")
        found = self._site.history.windows(guest.number, episode.id, first, last)
        windows = columns(found, first, last)
        style = f"<style>{(_HERE / 'static' / 'style.css').read_text()}</style>"
        drawing = timeline(windows, self._site.history.gaps(guest.number, episode.id), first, last, Wide, style)
        return _file(drawing, "image/svg+xml", f"{name}.svg")

    async def stream(self, request: Request) -> Response:
        """Server-sent events: `changed` and `beat`. A slow reader gets fewer of them; nothing waits for it."""

        async def lines() -> AsyncIterator[bytes]:
            seen, beat = -1, 0.0
            while not await request.is_disconnected():
                version, now = self._site.board.version, time.monotonic()
                if version != seen:
                    seen, beat = version, now
                    yield b"event: changed\ndata: %d\n\n" % version
                elif now - beat >= BEAT_S:
                    beat = now
                    yield b"event: beat\ndata: 0\n\n"
                await asyncio.sleep(CHANGES_S)

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)

    # what changes something

    async def acknowledge(self, request: Request) -> Response:
        """An alarm was seen."""
        said = await _form(request)
        alarm = request.path_params["alarm"]
        if not self._site.history.acknowledge(alarm, said.get("note", ""), now_ns()):
            return PlainTextResponse("no such alarm", 404)
        self._site.board.version += 1
        return RedirectResponse(f"{_base(request)}/alarms", 303)

    async def remove(self, request: Request) -> Response:
        """A guest is gone: all that was kept of it goes."""
        guest = self._guest(request)
        await _form(request)
        with self._site.board.lock:
            self._site.history.remove(guest.number)
            self._site.board.guests.pop((guest.one.node, guest.one.guest), None)
            if not any(node == guest.one.node for node, _ in self._site.board.guests):  # its node goes with its last
                self._site.board.nodes.pop(guest.one.node, None)
                self._site.history.remove_node(guest.one.node)
            self._site.board.version += 1
        return RedirectResponse(f"{_base(request)}/", 303)

    async def login(self, request: Request) -> Response:
        """The password is asked for, and looked at."""
        door, failed = self._site.door, ""
        if request.method == "POST" and door.password is not None:
            address = request.client.host if request.client else ""
            if self._site.behind_proxy:  # the last is the proxy's own word
                address = request.headers.get("X-Forwarded-For", address).rpartition(",")[2].strip()
            said = (await _form(request)).get("password", "")
            if not door.may_guess(address):
                return PlainTextResponse("too many wrong passwords; wait a minute", 429)
            if await asyncio.to_thread(door.password.fits, said):
                door.forgive(address)
                answer = RedirectResponse(f"{_base(request)}/", 303)
                secure = self._site.tls or request.url.scheme == "https"
                answer.set_cookie(
                    COOKIE, door.cookie(), max_age=DAYS * 86_400, path=f"{_base(request)}/", httponly=True,
                    samesite="strict", secure=secure,
                )  # fmt: skip
                return answer
            failed = "That is not the password."
        return self._html(self._render(request, "login", {"failed": failed}), 401 if failed else 200)

    # how

    def _page(self, request: Request, name: str, scene: Callable[[], dict[str, Any]]) -> Response:
        """What lives is the same for all who look at the same address, and is made once for each version."""
        part = request.headers.get("X-Part") == "1"
        key = f"{_path(request)}?{request.url.query}"
        version, now = self._site.board.version, time.monotonic()
        with self._keeping:
            kept = self._kept.get(key)
            if kept is None or kept[0] != version or now - kept[1] > 5:
                intake = self._site.intake
                said = {**scene(), "name": name, "problem": intake.problem, "strange": intake.strange}
                kept = (version, now, self._render(request, "live", said))
                if len(self._kept) > 200:
                    self._kept.clear()
                self._kept[key] = kept
        if part:
            return self._html(kept[2])
        title = f"{request.path_params['guest']} on {request.path_params['node']}" if name == "guest" else name
        return self._html(
            self._render(
                request,
                "page",
                {
                    "live": kept[2],
                    "name": name,
                    "version": kept[0],
                    "title": title,
                    "address": key.partition("?")[2],
                },
            )
        )

    def _render(self, request: Request, name: str, scene: dict[str, Any]) -> str:
        base = _base(request)
        return self._jinja.get_template(f"{name}.html").render(**scene, base=base, path=_path(request))

    @staticmethod
    def _html(text: str, status: int = 200) -> Response:
        return Response(text, status, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def _file(text: str, kind: str, name: str) -> Response:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return Response(text, headers={"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": kind})


def _path(request: Request) -> str:
    """Quoted, as it may stand in a page."""
    base = _base(request)
    return base + quote(str(request.scope["path"]).removeprefix(base))


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


def application(site: Site) -> Starlette:
    """All addresses."""
    pages = Pages(site)
    guest = "/guest/{node}/{guest}"
    routes = [
        Route("/", pages.overview),
        Route(guest, pages.guest),
        Route(f"{guest}/window", pages.window),
        Route(f"{guest}/export.{{form}}", pages.export),
        Route(f"{guest}/remove", pages.remove, methods=["POST"]),
        *(Route(f"/{name}", getattr(pages, name)) for name in _PAGES if name != "overview"),
        Route("/alarms/{alarm:int}", pages.acknowledge, methods=["POST"]),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/stream", pages.stream),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]

    async def nothing(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("there is nothing here", 404)

    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Guard, site=site),
            Middleware(GZipMiddleware, minimum_size=1000),
        ],
        exception_handlers={KeyError: nothing, 404: nothing},
    )
