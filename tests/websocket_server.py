"""A server of WebSockets that does what its path says; prints its port. Knows nothing of neap."""
import base64
import hashlib
import json
import socket
import struct
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode, payload, last=True, mask=False):
    length = len(payload)
    second = length if length < 126 else 126 if length < 65536 else 127
    head = bytes([(0x80 if last else 0) | opcode, second | (0x80 if mask else 0)])
    head += b"" if length < 126 else struct.pack(">H", length) if length < 65536 else struct.pack(">Q", length)
    return head + payload


def read_frame(stream):
    first, second = stream.read(2)
    assert second & 0x80, "a client masks its frames"
    length = second & 0x7f
    if length > 125:
        length = struct.unpack(">H" if length == 126 else ">Q", stream.read(2 if length == 126 else 8))[0]
    mask = stream.read(4)
    return first & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))


def echo(connection, stream):
    while True:
        opcode, payload = read_frame(stream)
        if opcode == 8:
            return
        connection.sendall(frame(2, payload))


def pieces(connection, stream):
    connection.sendall(frame(1, b"one ", last=False) + frame(9, b"still there?") + frame(0, b"message", last=True))
    opcode, payload = read_frame(stream)
    connection.sendall(frame(2, json.dumps([opcode, payload.decode()]).encode()))


def status_of(text):
    """Channels as the API server has them: what comes in on 0 until it is closed goes out on 1, then the status."""
    def act(connection, stream):
        got = b""
        while True:
            _, payload = read_frame(stream)
            if payload == b"\xff\x00":
                break
            got += payload[1:]
        connection.sendall(frame(2, b"\x01" + got) + frame(2, b"\x02to the errors") + frame(2, b"\x03" + text))
    return act


def say(*frames):
    return lambda connection, stream: connection.sendall(b"".join(frames))


FAILED = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}}
PATHS = {
    "/echo": echo,
    "/pieces": pieces,
    "/bye": say(frame(8, struct.pack(">H", 1011) + b"enough")),
    "/cut": say(frame(2, b"whole") + frame(2, b"cut off")[:4]),
    "/huge": say(b"\x82\x7f" + struct.pack(">Q", 1 << 40)),
    "/negative": say(b"\x82\x7f" + b"\xff" * 8),
    "/masked": say(frame(2, b"x", mask=True)),
    "/reserved": say(b"\xc2\x01x"),
    "/good/exec": status_of(b'{"status":"Success"}'),
    "/seven/exec": status_of(json.dumps(FAILED).encode()),
    "/odd/exec": status_of(b'{"status":"Failure","reason":"InternalError","message":"no such file"}'),
    "/none/exec": status_of(b"what?"),
}


def serve(connection):
    with connection, connection.makefile("rb") as stream:
        path = stream.readline().split()[1].decode()
        headers = {}
        for line in iter(stream.readline, b"\r\n"):
            name, value = line.decode().rstrip().split(": ", 1)
            headers[name.lower()] = value
        place = path.split("?")[0]
        if place == "/refuse":
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nnot so")
            return
        if place == "/endless":
            connection.sendall(b"HTTP/1.1 101 Switching\r\n" + b"X: y\r\n" * 20000)
            return
        accept = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()).decode()
        protocol = "other" if place == "/protocol" else headers["sec-websocket-protocol"].split(", ", maxsplit=1)[0]
        connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Accept: {'wrong' if place == '/accept' else accept}\r\n"
                            f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
        try:
            PATHS.get("/" + "/".join(place.split("/")[-2:]), PATHS.get(place, lambda *_: None))(connection, stream)
        except (OSError, ValueError):
            pass


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


main()
