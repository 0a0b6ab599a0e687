#!/usr/bin/env python3
"""A server for the tests of HTTP: what it does stands in the path. http_server.py [--tls CERTIFICATE KEY]: prints its port.

/echo: what it was sent, as JSON       /status/CODE: that status       /bytes/N: N bytes, with their length
/chunked/N: the same in pieces         /half: fewer bytes than it says /close: nothing, it hangs up
/silent: nothing, it waits             /drip/N: N lines, one each 0.1 s
/headers/N: N bytes of headers         /redirect: to /echo             /hold: reads nothing of the request
/moved/N: to /bytes/N
/count: how many requests came on this connection before
/thing/NAME: PUT makes it, DELETE removes it, GET shows it (404); with ?fault=… a PUT is carried out or not, and then:
    refuse (409, not made) lost (made, hangs up) never (not made, hangs up) broken (made, 503) busy (not made, 503)
    ?once=… breaks the first change of that thing alone, before it is carried out or after: cut-before cut-after, and so
    half (a body), 500, 503, 503-later (with Retry-After), 429, 429-later, hold (silent, then it hangs up), delay; land
    (silent, then it is carried out, and nobody is told)
/log: one line for each change that was carried out      /later/N: 503 until the Nth request, then what it is
/token: an OAuth2 endpoint
"""
import json
import socket
import socketserver
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler


HOLD, LAND, DELAY = 1.3, 1.2, 0.3
things = {}
broken = set()
log = []
asked = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = -1

    def log_message(self, *_):
        pass

    def reply(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        empty = status in (204, 304)
        if not empty:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and not empty:
            self.wfile.write(body)

    def sent(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline(), 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def echo(self):
        body = self.sent()
        self.reply(json.dumps({
            "method": self.command, "path": self.path, "headers": [[k, v] for k, v in self.headers.items()],
            "body": body.decode("latin-1") if len(body) < 1 << 20 else "", "length": len(body),
        }).encode(), headers=[("X-Two", "one"), ("X-Two", "two"), ("X-Empty", "")])

    def send_many(self, count, chunked):
        self.send_response(200)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(count))))
        self.end_headers()
        block = bytes(range(256)) * 256
        while count > 0:
            piece = block[:count]
            if chunked:
                self.wfile.write(b"%x\r\n" % len(piece))
            self.wfile.write(piece)
            if chunked:
                self.wfile.write(b"\r\n")
            count -= len(piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def half(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        self.close_connection = True

    def drip(self, count):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(count):
            line = b"line %d\n" % i
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def carry_out(self, name, body):
        log.append(b"%s %s" % (self.command.encode(), name.encode()))
        if self.command == "DELETE":
            things.pop(name, None)
        else:
            things[name] = body

    def break_once(self, name, fault, body):
        kind, _, place = fault.rpartition("-")
        kind = kind or fault
        if kind in ("hold", "land", "delay") and place != "after":
            time.sleep({"hold": HOLD, "land": LAND, "delay": DELAY}[kind])
        if place == "after" or kind in ("land", "delay"):
            self.carry_out(name, body)
        if place == "after" and kind in ("hold", "delay"):
            time.sleep({"hold": HOLD, "delay": DELAY}[kind])
        if kind == "delay":
            return self.reply(b"", 201)
        if kind == "half":
            return self.half()
        if kind[0].isdigit():
            return self.reply(b"", int(kind[:3]), [("Retry-After", "1")] if kind.endswith("-later") else [])
        self.close_connection = True
        return None

    def thing(self, name, fault):
        body = self.sent()
        if self.command in ("GET", "HEAD"):
            return self.reply(things[name]) if name in things else self.reply(b"", 404)
        once = self.path.partition("once=")[2]
        if once and (self.command, name) not in broken:
            broken.add((self.command, name))
            return self.break_once(name, once, body)
        if fault not in ("refuse", "never", "busy"):
            self.carry_out(name, body)
        if fault in ("lost", "never"):
            self.close_connection = True
            return None
        return self.reply(b"", {"refuse": 409, "broken": 503, "busy": 503}.get(fault, 201))

    def later(self, number):
        asked[self.path] = asked.get(self.path, 0) + 1
        if asked[self.path] < number:
            return self.reply(b"", 503, [("Retry-After", "0")])
        return self.reply(b"%d" % asked[self.path])

    def token(self):
        fields = self.sent().decode()
        asked["token"] = asked.get("token", 0) + 1
        if "password=open%20sesame%26" not in fields and "client_secret=s" not in fields:
            return self.reply(b'{"error": "invalid_grant"}', 400)
        answer = {"access_token": "token-%d-of-the-test" % asked["token"], "expires_in": 31 if "short" in fields else 3600}
        return self.reply(json.dumps(answer).encode())

    def handle_any(self):
        self.requests += 1
        parts = self.path.split("?")[0].split("/")
        what, number = parts[1], int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
        if what == "status":
            self.sent()
            self.reply(b"said %d" % number, number, [("Retry-After", "1")])
        elif what in ("bytes", "chunked"):
            self.send_many(number, what == "chunked")
        elif what == "half":
            self.half()
        elif what == "close":
            self.sent()
            self.close_connection = True
        elif what == "silent":
            time.sleep(20)
        elif what == "hold":
            time.sleep(20)
        elif what == "drip":
            self.drip(number)
        elif what == "headers":
            self.reply(b"", headers=[("X-Long", "x" * 1000)] * (number // 1000))
        elif what == "redirect":
            self.reply(b"", 302, [("Location", "/echo")])
        elif what == "moved":
            self.reply(b"it has moved", 302, [("Location", "/bytes/%d" % number)])
        elif what == "thing":
            self.thing(parts[2], self.path.partition("fault=")[2])
        elif what == "log":
            self.reply(b"".join(line + b"\n" for line in log))
        elif what == "later":
            self.later(number)
        elif what == "token":
            self.token()
        elif what == "count":
            self.reply(b"%d" % self.requests)
        else:
            self.echo()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_any


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


def main():
    server = Server(("127.0.0.1", 0), Handler)
    if "--tls" in sys.argv:
        at = sys.argv.index("--tls")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[at + 1], sys.argv[at + 2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
