#!/usr/bin/env python3
"""Stands in for boss-manage's bastion.py: Vault of a bosslet, by way of its bastion. The token lies in vault/private."""
import argparse
import json
import os
import pprint
import subprocess

from bosslet import ROOT

parser = argparse.ArgumentParser()
parser.add_argument("hostname")
parser.add_argument("command", choices=["vault-read", "vault-export"])
parser.add_argument("arguments", nargs="*")
args = parser.parse_args()
with open(os.path.join(ROOT, "vault", "private", args.hostname, "vault_token")) as token_file:
    TOKEN = token_file.read().strip()


def ask(path):
    """The token goes by the input: arguments are everybody's to read."""
    result = subprocess.run(["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "bastion", "curl", "--silent",
                             "--show-error", "--fail", "--max-time", "10", "--header", "@-",
                             "http://vault:8200/v1/" + path], input="X-Vault-Token: " + TOKEN, capture_output=True,
                            text=True, check=False)
    if result.returncode:
        raise SystemExit("Vault at {}: {}".format(args.hostname, result.stderr.strip()))
    return json.loads(result.stdout)["data"]


def read(path):
    return ask("secret/data/" + path.removeprefix("secret/"))["data"]


def export(folder):
    found = {}
    for key in ask("secret/metadata/" + folder + "?list=true")["keys"]:
        if key.endswith("/"):
            found.update(export(folder + key))
        else:
            found["secret/" + folder + key] = read(folder + key)
    return found


if args.command == "vault-read":
    pprint.pprint(read(args.arguments[0]))
else:
    with open(args.arguments[0], "w") as output:
        json.dump(export(""), output, indent=3, sort_keys=True)
