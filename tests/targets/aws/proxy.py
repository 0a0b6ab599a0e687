#!/usr/bin/env python3
"""Stands between the AWS client and moto: keeps a log, breaks what it is told to, and remembers client tokens, as AWS
does and moto does not. proxy.py UPSTREAM: prints its port.

POST /proxy {"match": TEXT, "do": [FAULT…]}: the next requests that hold TEXT meet these, one each:
    503-before 503-after (carried out or not, then 503)   cut-before cut-after (carried out or not, then it hangs up)
    throttle (400 or 503 with a code that says so)        late (its clock is an hour ahead)        pass
GET /proxy/log: a line for each request, "METHOD PATH WHAT"; POST /proxy/reset: all of that is forgotten
"""
import datetime
import http.client
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

upstream = sys.argv[1].replace("http://", "")
state = {"match": "", "do": [], "log": [], "tokens": {}}
TOKEN = re.compile(rb'"ClientRequestToken": ?"([^"]+)"|ClientToken=([^&]+)')
XML = ("<ErrorResponse><Error><Code>{0}</Code><Message>{1}</Message></Error><RequestId>r-proxy</RequestId>"
       "</ErrorResponse>")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        length = dict((name.lower(), value) for name, value in headers).get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def forward(self, body):
        connection = http.client.HTTPConnection(upstream, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return found

    def carried_out(self, body):
        """A token that was seen before gets the answer that it got then."""
        match = TOKEN.search(body)
        token = match and (match.group(1) or match.group(2))
        if token in state["tokens"]:
            state["log"][-1] += " again"
            return state["tokens"][token]
        found = self.forward(body)
        if token and found[0] < 300:
            state["tokens"][token] = found
        return found

    def refuse(self, status, code, headers=()):
        is_json = "json" in self.headers.get("Content-Type", "")
        text = json.dumps({"__type": code, "message": "a fault"}) if is_json else XML.format(code, "a fault")
        self.reply(status, headers, text.encode())

    def control(self, body):
        if self.path == "/proxy/log":
            return self.reply(200, [], "".join(line + "\n" for line in state["log"]).encode())
        if self.path == "/proxy/reset":
            state.update(match="", do=[], log=[], tokens={})
        else:
            state.update(json.loads(body))
        return self.reply(200, [], b"")

    def note(self, body):
        action = re.search(rb"Action=(\w+)", body)
        what = self.headers.get("X-Amz-Target") or (action and action.group(1).decode()) or ""
        state["log"].append(" ".join([self.command, self.path, what]).rstrip())
        return what

    def any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/proxy"):
            return self.control(body)
        what = self.note(body)
        hit = state["do"] and state["match"] in " ".join([self.command, self.path, what, body.decode("latin-1")])
        fault = state["do"].pop(0) if hit else "pass"
        if fault == "late":
            ahead = datetime.datetime.utcnow() + datetime.timedelta(hours=1)
            when = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT")
            self.date_time_string = lambda *_: when
            return self.refuse(403, "RequestTimeTooSkewed")
        if fault == "throttle":
            return self.refuse(400, "ThrottlingException")
        found = self.carried_out(body) if fault in ("pass", "503-after", "cut-after") else None
        if fault.startswith("cut"):
            return self.hang_up()
        return self.refuse(503, "ServiceUnavailable") if fault.startswith("503") else self.reply(*found)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
