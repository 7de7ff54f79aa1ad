"""A TCP proxy that misbehaves: what is between an application's module and its daemon.

fault_proxy.py PORT MODE-FILE     prints the port that it listens on; MODE-FILE says how, and is read again all the time:

pass                 as it is
reset N              each connection is reset after N answers of the daemon
delay MS             each piece waits that long
slow                 bytes one by one
hole                 connections stay open, and nothing comes through
refuse               connections are closed at once, those that are there with the next piece
cut WAY BYTES HOW    once, when that many bytes more went "up" to the daemon or "down" from it, the connection that carries
                     them ends: "reset", "closed", or "silent" for good. MODE-FILE says "pass" from then on.

On stderr it tells of each connection that ended how many bytes went up and down.

SIGUSR1: all connections that there are go silent, as when a firewall forgets them. SIGUSR2: they are reset.
"""
import asyncio
import pathlib
import signal
import socket
import struct
import sys

target, mode_file = int(sys.argv[1]), pathlib.Path(sys.argv[2])
connections = set()


def mode():
    words = mode_file.read_text().split() or ["pass"]
    return words[0], int(words[1]) if len(words) == 2 else 0


class Cut:
    """The order of MODE-FILE, while it has not been carried out."""

    order, left = "", 0

    @classmethod
    def inside(cls, way, data):
        """How the connection ends, and what of the data still gets through; or None."""
        order = mode_file.read_text()
        words = order.split()
        if not words or words[0] != "cut":
            return None
        if order != cls.order:
            cls.order, cls.left = order, int(words[2])
        if words[1] != way:
            return None
        if len(data) <= cls.left:
            cls.left -= len(data)
            return None
        mode_file.write_text("pass\n")
        return words[3], data[:cls.left]


class Connection:
    def __init__(self, down, up):
        self.writers, self.silent = (down, up), False
        self.bytes = {"up": 0, "down": 0}

    def reset(self):
        for writer in self.writers:
            if not writer.transport.is_closing():
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    def end(self, how):
        if how == "reset":
            self.reset()
        elif how == "silent":
            self.silent = True
        else:
            for writer in self.writers:
                writer.close()


async def pump(connection, way, reader, writer, answers):
    try:
        while data := await reader.read(65536):
            connection.bytes[way] += len(data)
            if connection.silent:
                continue
            name, number = mode()
            while name == "hole":
                await asyncio.sleep(0.02)
                name, number = mode()
                if name != "hole":
                    return
            if name == "refuse":
                return
            if name == "delay":
                await asyncio.sleep(number / 1000)
            if cut := Cut.inside(way, data):
                writer.write(cut[1])
                await writer.drain()
                connection.end(cut[0])
                continue
            for piece in [data[i:i + 1] for i in range(len(data))] if name == "slow" else [data]:
                writer.write(piece)
                await writer.drain()
            if way == "down" and name == "reset":
                answers[0] += 1
                if answers[0] >= number:
                    connection.reset()
                    return
    except OSError:
        pass
    finally:
        for writer in connection.writers:
            writer.close()


async def serve(reader, writer):
    if mode()[0] == "refuse":
        Connection(writer, writer).reset()
        return
    try:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        Connection(writer, writer).reset()
        return
    connection = Connection(writer, up_writer)
    connections.add(connection)
    await asyncio.gather(pump(connection, "up", reader, up_writer, None), pump(connection, "down", up_reader, writer, [0]))
    connections.discard(connection)
    print(connection.bytes["up"], connection.bytes["down"], file=sys.stderr, flush=True)


def end_all(how):
    for connection in list(connections):
        connection.end(how)


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, end_all, "silent")
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, end_all, "reset")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
