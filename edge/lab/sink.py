"""The other end of the guest's connections: it takes and sends as much as each asks for, and keeps nothing.

A connection begins with two numbers of eight hex digits: bytes that come, bytes that are wanted. A datagram is sent
back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import cast

from contracts.shell.cli import Parser

MOST = 64 << 20
"""Bytes in one connection, either way."""
_PIECE = b"\0" * 16384


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
        head = await reader.readexactly(16)
        up, down = min(int(head[:8], 16), MOST), min(int(head[8:], 16), MOST)
        while up > 0 and (some := await reader.read(min(up, 65536))):
            up -= len(some)
        while down > 0:
            writer.write(_PIECE[:down])
            down -= len(_PIECE)
            await writer.drain()
    writer.close()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data[:512], addr)


async def serve(tcp: Sequence[int], udp: Sequence[int]) -> None:
    """Until it is ended."""
    loop = asyncio.get_running_loop()
    for port in tcp:
        await asyncio.start_server(answer, "0.0.0.0", port, backlog=256)  # noqa: S104 - a namespace of our own
    for port in udp:
        await loop.create_datagram_endpoint(_Echo, ("0.0.0.0", port))  # noqa: S104
    print("ready", flush=True)
    await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m edge.lab.sink --tcp PORT … --udp PORT …`."""
    parser = Parser(prog="python -m edge.lab.sink", example="python -m edge.lab.sink --tcp 8080 --udp 1234")
    parser.add_argument("--tcp", type=int, nargs="*", default=[], metavar="PORT", help="connections")
    parser.add_argument("--udp", type=int, nargs="*", default=[], metavar="PORT", help="datagrams")
    options: argparse.Namespace = parser.parse_args(arguments)
    asyncio.run(serve(options.tcp, options.udp))
    return 0


if __name__ == "__main__":
    sys.exit(main())
