#!/usr/bin/env python3
"""A Vault of two engines for keys and values: "old" of version 1, "new" of version 2. vault.py TOKEN: prints its port.
/seal (POST): from now on it is sealed."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENGINES = {"old/": "1", "new/": "2"}
KEPT = {"old/realm": {"username": "admin", "password": "of old vault"}, "new/app/db": {"password": "of new vault"}}
state = {"sealed": False}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def mount(self, path):
        for name, version in ENGINES.items():
            if path.startswith(name):
                return self.reply(200, {"data": {"path": name, "type": "kv", "options": {"version": version}}})
        return self.reply(403, {"errors": ["preflight capability check returned 403"]})

    def value(self, path):
        if path.startswith("old/") and path in KEPT:
            return self.reply(200, {"data": KEPT[path]})
        kept = KEPT.get("new/" + path[len("new/data/"):]) if path.startswith("new/data/") else None
        if kept:
            return self.reply(200, {"data": {"data": kept, "metadata": {"version": 3}}})
        return self.reply(404, {"errors": []})

    def do_GET(self):
        path = self.path[len("/v1/"):]
        if state["sealed"]:
            return self.reply(503, {"errors": ["Vault is sealed"]})
        if self.headers.get("X-Vault-Token") != sys.argv[1]:
            return self.reply(403, {"errors": ["permission denied"]})
        mounts = "sys/internal/ui/mounts/"
        return self.mount(path[len(mounts):]) if path.startswith(mounts) else self.value(path)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))  # unread bytes would reset the connection
        state["sealed"] = self.path == "/seal"
        self.reply(200, {})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
