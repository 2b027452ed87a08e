"""One run: history, board, intake and server, opened in order and closed in the reverse."""

from __future__ import annotations

import contextlib
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from contracts.errors import ConfigError
from contracts.events.envelope import rfc3339
from contracts.events.payloads import WindowData
from contracts.files import locked
from contracts.shell.broker import Broker
from contracts.shell.memory import be_frugal
from edge.dashboard.access import Door, Password
from edge.dashboard.alerts import Webhook
from edge.dashboard.board import Board, Standing
from edge.dashboard.history import History
from edge.dashboard.intake import Intake
from edge.dashboard.server import application
from edge.dashboard.site import Site


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `edge dashboard` was told."""

    broker: Broker
    host: str
    port: int
    history: Path
    keep_days: float
    hosts: list[str]
    login: Path | None
    certificate: Path | None
    key: Path | None
    behind_proxy: bool
    webhook: Path | None


def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT. Raises `ConfigError`, `BusyError`, `StorageError`."""
    be_frugal()
    with contextlib.ExitStack() as stack:
        password = None if options.login is None else Password(options.login)
        webhook = None if options.webhook is None else Webhook(options.webhook)
        if webhook is not None:
            stack.callback(webhook.close)
        listener = stack.enter_context(_listening(options.host, options.port))
        options.history.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(options.history.with_name(f"{options.history.name}.lock")))
        history = History(options.history, options.keep_days)
        stack.callback(history.close)
        board = Board(history)

        def raised(one: Standing, data: WindowData) -> None:
            if webhook is not None:
                webhook.post({
                    "node": one.node, "guest": one.guest, "phase": data.told, "episode": data.episode_id,
                    "time": rfc3339(data.end_wall_ns), "evidence": data.evidence,
                })  # fmt: skip

        intake = Intake(options.broker, history, board, raised)
        door = Door(password, history.fact("secret", secrets.token_hex(32)))
        site = Site(
            history=history, board=board, intake=intake, door=door,
            hosts=options.hosts, behind_proxy=options.behind_proxy, tls=options.certificate is not None,
        )  # fmt: skip
        intake.start()
        stack.callback(intake.stop)
        scheme = "http" if options.certificate is None else "https"
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"dashboard: {scheme}://{host}:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            application(site), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            ssl_certfile=options.certificate, ssl_keyfile=options.key, timeout_graceful_shutdown=1, lifespan="off",
            ws="none", loop="asyncio", http="h11",
        )  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn says it again, once all is closed
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # before the address is printed
    except OSError as error:
        listener.close()
        raise ConfigError(
            "--listen", f"{host}:{port}: {error.strerror or error}", expected="a free port", remedy="name another"
        ) from None
    return listener
