#!/usr/bin/env python3
"""A proxy for tests: proxy_server.py PORT LOG. Prints its port. Whatever CONNECT asks for leads to PORT of this machine;
each request's first line is added to LOG."""
import socket
import sys
import threading


def pump(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(4096)
        if not more:
            return
        head += more
    with open(sys.argv[2], "ab") as log:
        log.write(head.split(b"\r\n")[0] + b"\n")
    if not head.startswith(b"CONNECT "):
        client.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
        return
    server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
