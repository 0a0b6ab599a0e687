#!/usr/bin/env python3
"""Stands in for two servers of an ENCODE host, on loopback.

servers.py indexer       port 6544: GET /_indexer, the state of the application's indexer; its database is the host's own.
                         /srv/encoded/indexing is there: it indexes; /srv/encoded/index-error: what it says of an error
servers.py elasticsearch port 9200: GET /_cluster/health, GET and PUT /INDEX/_settings (INDEX may be _all); the nodes of its
                         cluster are those instances in the lab's AWS that run and were made for it
"""
import json
import os
import re
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SETTINGS = "/var/lib/elasticsearch-stand-in.json"
FIRST = {"annotations": 5, "resources": 5}


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True, cwd="/").stdout.strip()


def indexer():
    status = {"status": "waiting", "errors": [], "results": [], "timeout": 60}
    if os.path.exists("/srv/encoded/index-error"):
        status.update(status="sleeping", errors=[{"error": open("/srv/encoded/index-error").read().strip()}])
        return status
    recovery, snapshot = output("runuser", "-u", "postgres", "--", "psql", "-XAtqc",
                                "select pg_is_in_recovery(), txid_current_snapshot()").split("|")
    status.update(recovery=recovery == "t", listening=recovery != "t", snapshot=snapshot)
    if os.path.exists("/srv/encoded/indexing"):
        status["status"] = "indexing"
    else:
        status["last_result"] = {"indexed": 400, "stats": {}}
    return status


def settings():
    if not os.path.exists(SETTINGS):
        return dict(FIRST)
    with open(SETTINGS) as file:
        return json.load(file)


def nodes():
    cluster = open("/etc/elasticsearch-cluster").read().strip() if os.path.exists("/etc/elasticsearch-cluster") else ""
    if not cluster:
        return 0
    reply = output("/opt/lab/bin/ask-aws", open("/etc/lab-aws").read().strip(), "ec2", "Version=2016-11-15", "Action=DescribeInstances",
                   "Filter.1.Name=tag:cluster", "Filter.1.Value.1=" + cluster, "Filter.2.Name=tag:elasticsearch",
                   "Filter.2.Value.1=yes", "Filter.3.Name=instance-state-name", "Filter.3.Value.1=running")
    return len(re.findall("<instanceId>", reply))


def health():
    count = nodes()
    copies = max(settings().values()) + 1
    return {"cluster_name": "lab", "status": "red" if not count else "green" if copies <= count else "yellow",
            "timed_out": False, "number_of_nodes": count + 1, "number_of_data_nodes": count}


def shown(chosen):
    return {name: {"settings": {"index": {"number_of_replicas": str(count)}}} for name, count in chosen.items()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, value, status=200):
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chosen(self):
        name = self.path.split("?")[0].split("/")[1]
        return {key: count for key, count in settings().items() if name in ("_all", key)}

    def do_GET(self):
        path = self.path.split("?")[0]
        try:
            if sys.argv[1] == "indexer" and path == "/_indexer":
                self.reply(indexer())
            elif sys.argv[1] == "elasticsearch" and path == "/_cluster/health":
                self.reply(health())
            elif sys.argv[1] == "elasticsearch" and path.endswith("/_settings"):
                self.reply(shown(self.chosen()))
            else:
                self.reply({"error": "not found"}, 404)
        except subprocess.CalledProcessError as failure:
            self.reply({"error": str(failure)}, 500)

    def do_PUT(self):
        value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        after = settings()
        for name in self.chosen():
            after[name] = int(value["index"]["number_of_replicas"])
        with open(SETTINGS, "w") as file:
            json.dump(after, file)
        with open("/var/log/elasticsearch.log", "a") as log:
            log.write("PUT %s %s\n" % (self.path, json.dumps(value)))
        self.reply({"acknowledged": True})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET


Server(("127.0.0.1", 6544 if sys.argv[1] == "indexer" else 9200), Handler).serve_forever()
