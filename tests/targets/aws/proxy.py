#!/usr/bin/env python3
"""Stands between the AWS client and a server (moto, versitygw): keeps a log, breaks what it is told to, and remembers
client tokens, as AWS does and moto does not. proxy.py UPSTREAM: prints its port.

POST /proxy {"match": TEXT, "do": [FAULT…]}: the next requests that hold TEXT meet these, one each. POST /proxy/rule
{"has": [TEXT…], "do": [FAULT…]} adds to that those that hold all of several texts. A fault has two halves, WHAT-before
(the request is not carried out) and WHAT-after (it is, and then):
    cut    it hangs up                      hold   it is silent for `hold` seconds, and hangs up
    half   half of a body, and it hangs up  delay  it answers `delay` seconds later than it would, as it should
    500, 503, 429 (with a code that says so); 503-later, 429-later: with Retry-After: 1
Without halves: land (silent for `land` seconds, then it is carried out, and nobody is told), throttle (400 with a code
that says so), late (its clock is an hour ahead), pass.
POST /proxy {"stale": KEY}: what is signed with that key is refused from now on, for it has run out.
GET /proxy/log: a line for each request, "METHOD PATH WHAT". POST /proxy/carried {"has": [TEXT…]}: how many requests that
hold these the server has carried out, with a status below 300. POST /proxy/reset: all of that is forgotten.
"""
import datetime
import http.client
import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

upstream = sys.argv[1].replace("http://", "")


def new():
    return {"match": "", "do": [], "rules": [], "log": [], "carried": [], "tokens": {}, "hold": 3, "delay": 0.3,
            "land": 2, "stale": ""}


state = new()
TOKEN = re.compile(rb'"ClientRequestToken": ?"([^"]+)"|Client(?:Request)?Token=([^&]+)')
XML = ("<ErrorResponse><Error><Code>{0}</Code><Message>{1}</Message></Error><RequestId>r-proxy</RequestId>"
       "</ErrorResponse>")
CODES = {500: "InternalFailure", 503: "ServiceUnavailable", 429: "TooManyRequestsException", 400: "ThrottlingException",
         403: "RequestTimeTooSkewed"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body, part=1.0):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        length = dict((name.lower(), value) for name, value in headers).get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:int(len(body) * part)])

    def hang_up(self):
        self.close_connection = True

    def forward(self, body):
        connection = http.client.HTTPConnection(upstream, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return found

    def carried_out(self, what, body):
        """A token that was seen before with this operation gets the answer that it got then."""
        match = TOKEN.search(body)
        token = match and (what, match.group(1) or match.group(2))
        if token in state["tokens"]:
            state["log"][-1] += " again"
            return state["tokens"][token]
        found = self.forward(body)
        if found[0] < 300:
            state["carried"].append(self.text(what, body))
            if token:
                state["tokens"][token] = found
        return found

    def refuse(self, status, later=False):
        is_json = "json" in self.headers.get("Content-Type", "")
        code = CODES[status]
        text = json.dumps({"__type": code, "message": "a fault"}) if is_json else XML.format(code, "a fault")
        self.reply(status, [("Retry-After", "1")] if later else [], text.encode())

    def control(self, body):
        if self.path == "/proxy/log":
            return self.reply(200, [], "".join(line + "\n" for line in state["log"]).encode())
        if self.path == "/proxy/carried":
            has = json.loads(body)["has"]
            count = sum(all(text in one for text in has) for one in list(state["carried"]))
            return self.reply(200, [], str(count).encode())
        if self.path == "/proxy/reset":
            state.update(new())
        elif self.path == "/proxy/rule":
            state["rules"].append(json.loads(body))
        else:
            state.update(json.loads(body))
        return self.reply(200, [], b"")

    def text(self, what, body):
        return " ".join([self.command, self.path, what, body[:100000].decode("latin-1")])

    def fault(self, text):
        if state["do"] and state["match"] in text:
            return state["do"].pop(0)
        for rule in state["rules"]:
            if rule["do"] and all(part in text for part in rule["has"]):
                return rule["do"].pop(0)
        return "pass"

    def note(self, body):
        action = re.search(rb"Action=(\w+)", body)
        what = self.headers.get("X-Amz-Target") or (action and action.group(1).decode()) or ""
        state["log"].append(" ".join([self.command, self.path, what]).rstrip())
        return what

    def late(self):
        ahead = datetime.datetime.utcnow() + datetime.timedelta(hours=1)
        when = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT")
        self.date_time_string = lambda *_: when
        return self.refuse(403)

    def land(self, what, body):
        time.sleep(state["land"])
        self.carried_out(what, body)
        return self.hang_up()

    def half(self, found):
        """Half of what is said, be it the answer or one that would be as long."""
        self.reply(*(found or (200, [], b"<a>" * 60)), part=0.5)
        return self.hang_up()

    def broken(self, fault, what, body):
        kind, _, place = fault.rpartition("-")
        if kind == "delay" and place == "before":
            time.sleep(state["delay"])
        found = self.carried_out(what, body) if place == "after" or kind == "delay" else None
        if kind == "delay":
            time.sleep(state["delay"] if place == "after" else 0)
            return self.reply(*found)
        if kind == "hold":
            time.sleep(state["hold"])
        if kind in ("hold", "cut"):
            return self.hang_up()
        if kind == "half":
            return self.half(found)
        return self.refuse(int(kind[:3]), kind.endswith("-later"))

    def any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/proxy"):
            return self.control(body)
        what = self.note(body)
        if state["stale"] and state["stale"] in self.headers.get("Authorization", ""):
            return self.reply(400, [], XML.format("ExpiredToken", "The provided token has expired.").encode())
        fault = self.fault(self.text(what, body))
        if fault == "pass":
            return self.reply(*self.carried_out(what, body))
        if fault == "throttle":
            return self.refuse(400)
        if fault == "late":
            return self.late()
        return self.land(what, body) if fault == "land" else self.broken(fault, what, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
