"""A TCP proxy that misbehaves: what is between an application's module and its daemon.

fault_proxy.py PORT MODE-FILE     prints the port that it listens on; MODE-FILE says how, and is read again all the time:

pass        as it is
reset N     each connection is reset after N answers of the daemon
delay MS    each piece waits that long
slow        bytes one by one
hole        connections stay open, and nothing comes through
refuse      connections are closed at once, those that are there with the next piece
"""
import asyncio
import pathlib
import socket
import struct
import sys

target, mode_file = int(sys.argv[1]), pathlib.Path(sys.argv[2])


def mode():
    words = mode_file.read_text().split() or ["pass"]
    return words[0], int(words[1]) if len(words) > 1 else 0


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def pump(reader, writer, answers, other):
    try:
        while data := await reader.read(65536):
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
            for piece in [data[i:i + 1] for i in range(len(data))] if name == "slow" else [data]:
                writer.write(piece)
                await writer.drain()
            if answers is not None and name == "reset":
                answers[0] += 1
                if answers[0] >= number:
                    reset(writer)
                    return
    except OSError:
        pass
    finally:
        writer.transport.abort()
        other.transport.abort()


async def serve(reader, writer):
    if mode()[0] == "refuse":
        reset(writer)
        return
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(pump(reader, up_writer, None, writer), pump(up_reader, writer, [0], up_writer))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
