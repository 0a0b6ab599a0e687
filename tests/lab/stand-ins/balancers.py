#!/usr/bin/env python3
"""Gives the services of a cluster that ask for a load balancer one, as a cloud's controller does: its name, NAME.elb.lab.

    balancers.py FOLDER       FOLDER: of tests/lab/kube, with its keys
"""
import json
import ssl
import sys
import time
import urllib.request

FOLDER = sys.argv[1]
SERVER = "https://127.0.0.1:%d" % (int(open(FOLDER + "/port").read()) + 2)
context = ssl.create_default_context(cafile=FOLDER + "/pki/ca.crt")
context.load_cert_chain(FOLDER + "/pki/admin.crt", FOLDER + "/pki/admin.key")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def call(method, path, body=None):
    headers = {"Content-Type": "application/merge-patch+json", "User-Agent": "cloud-controller-manager"}
    return opener.open(urllib.request.Request(SERVER + path, body, headers, method=method), timeout=3600)


def give(service):
    metadata = service["metadata"]
    ingress = [{"hostname": metadata["name"] + ".elb.lab"}]
    if service["spec"].get("type") == "LoadBalancer" and not service["status"].get("loadBalancer", {}).get("ingress"):
        call("PATCH", "/api/v1/namespaces/%s/services/%s/status" % (metadata["namespace"], metadata["name"]),
             json.dumps({"status": {"loadBalancer": {"ingress": ingress}}}).encode()).close()


while True:
    try:
        with call("GET", "/api/v1/services?watch=true") as events:
            for line in events:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    give(event["object"])
    except (OSError, ValueError, KeyError):
        time.sleep(0.5)
