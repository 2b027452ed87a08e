"""A Dask cluster that somebody started, as an engine."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

from contracts.errors import ConfigError, WorkError
from trainer.workers.engine import Engine, speaks

ANSWER_S = 10.0
"""A scheduler that takes longer to say who it is is not well, or is none."""
_ADDRESS = re.compile(r"(tcp|tls)://(?:\[([\da-fA-F:.]+)\]|([^][/?#@:\s]+)):(\d{1,5})")


def address(text: str) -> str:
    """A scheduler's address, as it is. Raises `ConfigError` for any other."""
    _parts(text)
    return text


def _parts(text: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[4]) < 65536:
        raise ConfigError(
            "--cluster",
            f"address {text!r}",
            expected="tcp://host:port or tls://host:port",
            remedy="give what `dask scheduler` prints",
        )
    return found[1], found[2] or found[3], int(found[4])


@contextlib.contextmanager
def joined(text: str) -> Iterator[Engine]:
    """The cluster at an address. Raises `ConfigError`, `WorkError`."""
    scheme, host, port = _parts(text)
    import asyncio

    try:
        from distributed import Client, KilledWorker, Security
    except ModuleNotFoundError:
        raise ConfigError(
            "--cluster", "no package distributed", expected="Dask", remedy="install phasewatch[cluster]"
        ) from None
    certificates = Security().get_connection_args("client")
    if scheme == "tls" and certificates.get("ssl_context") is None:
        raise ConfigError(
            text,
            "no certificates",
            expected="some in Dask's settings (distributed.comm.tls)",
            remedy="name them there, or give a tcp:// address",
        )
    try:
        # before there is a client: one that gets no answer tries on for as long as it may, and is never closed
        socket.create_connection((host, port), ANSWER_S).close()
        asyncio.run(asyncio.wait_for(_greeted(text, certificates), ANSWER_S))
        client = Client(text, timeout=ANSWER_S, set_as_default=False)
    except Exception as error:  # whatever it is that a stranger's answer brings about in a library
        why = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
        raise WorkError(
            text,
            f"no answer ({why[:120]})",
            expected="a Dask scheduler",
            remedy="start one with `dask scheduler`, or leave --cluster out",
        ) from None
    with client:
        cores = client.ncores()
        if not cores:
            raise WorkError(
                text, "a scheduler without workers", expected="one at least", remedy=f"start `dask worker {text}`"
            )
        _require_same_code(client.run(speaks), text)
        # Dask moves the tasks of a worker that died to another; only one that kills several comes back as KilledWorker
        yield Engine(client.get_executor, sum(cores.values()), (KilledWorker,), client.run)


async def _greeted(text: str, certificates: dict[str, object]) -> None:
    """Exchange greetings within a time limit; `distributed` itself sets none."""
    from distributed.comm import connect

    comm = await connect(text, timeout=ANSWER_S, **certificates)
    await comm.close()


def _require_same_code(found: dict[str, str], address: str) -> None:
    for worker, code in found.items():
        if code != speaks():
            raise ConfigError(
                f"{address}: worker {worker}", code, expected=speaks(), remedy="install this version there"
            )
