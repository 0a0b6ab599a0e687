#!/usr/bin/env python3
"""Stands in for a process of edX: edxapp.py lms|cms|edxapp_worker [PORT]. It answers /heartbeat as edX does, 200 while
the database can be asked, and every other address with what it is: the commit and the configuration of its start."""
import http.server
import json
import subprocess
import sys
import time

PLATFORM = "/edx/app/edxapp/edx-platform"
CONFIGURATION = "/edx/etc/lms.yml"


def first_line(path):
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return "none"


service = sys.argv[1]
commit = subprocess.run(["git", "-C", PLATFORM, "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
page = "%s %s %s on %s\n" % (service, commit[:12], first_line(CONFIGURATION), first_line("/etc/salt/minion_id"))


def database_answers():
    ask = ["mariadb", "--defaults-file=/edx/etc/my.cnf", "edxapp", "-e", "select 1 from django_migrations limit 1"]
    return subprocess.run(ask, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok, body = True, page
        if self.path == "/heartbeat":
            ok = database_answers()
            body = json.dumps({"modulestore": {"status": ok}, "sql": {"status": ok}}) + "\n"
        self.send_response(200 if ok else 503)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if len(sys.argv) > 2:
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
while True:
    time.sleep(3600)
