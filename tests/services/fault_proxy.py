"""A TCP proxy that understands HTTP/2 frames and harms a connection at an exact one of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading

_PREFACE_BYTES = 24  # of the client, before its first frame
_COUNTED = (0, 1)  # DATA and HEADERS: a gRPC call's headers, messages and trailers


@dataclasses.dataclass
class Fault:
    """Meets one connection: the first on which `index` counted frames have passed in `direction` since it was armed."""

    direction: str  # up: to the server; down: to the client
    index: int  # frames that pass unharmed
    action: str  # reset; half-close: the direction ends; delay: it waits; silence: nothing passes in it any more
    seconds: float = 0.5  # of a delay


class FaultProxy:
    """Listens on `address` and passes everything on to `backend`, which may change: connections made later go there.
    To be used by one thread."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._fault: Fault | None = None
        self.struck = False  # whether the armed fault has met its connection
        self.seen = {"up": 0, "down": 0}  # counted frames since the last arm()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def arm(self, fault: Fault | None) -> None:
        async def arm() -> None:
            self._fault, self.struck = fault, False
            self.seen = {"up": 0, "down": 0}

        self._run(arm())

    def cut(self) -> None:
        """Resets all connections."""

        async def cut() -> None:
            for writer in list(self._writers):
                _reset(writer)

        self._run(cut())

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.backend.rpartition(":")
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # nobody is there: the client sees a refusal, as it would without us
            _reset(writer)
            return
        self._writers |= {writer, up_writer}
        pumps = [
            asyncio.create_task(self._pump("up", reader, up_writer, writer)),
            asyncio.create_task(self._pump("down", up_reader, writer, up_writer)),
        ]
        try:
            await asyncio.gather(*pumps)
        except asyncio.CancelledError:
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            self._writers -= {writer, up_writer}
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(
        self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if direction == "up":
                writer.write(await reader.readexactly(_PREFACE_BYTES))
            while True:
                header = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(header[:3], "big"))
                if header[3] in _COUNTED:
                    fault = self._meets(direction)
                    if fault is not None and await self._strike(fault, reader, writer, other):
                        return
                writer.write(header + payload)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def _meets(self, direction: str) -> Fault | None:
        self.seen[direction] += 1
        fault = self._fault
        if fault is None or self.struck or fault.direction != direction or self.seen[direction] <= fault.index:
            return None
        self.struck = True
        return fault

    async def _strike(
        self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> bool:
        """-> whether this direction is over."""
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            return False
        if fault.action == "reset":
            _reset(writer)
            _reset(other)
            return True
        if fault.action == "half-close":
            writer.write_eof()
        while await reader.read(1 << 16):  # silence: read and dropped
            pass
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """The peer gets RST, not FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
