"""What the stand-ins of boss-manage share: bosslets, their account, the checkout's commit."""
import json
import os
import subprocess

import boto3

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SUFFIX = ".boss"  # of the names of images


class Bosslet:
    """A bosslet of config/bosslets.json. AWS_PROFILE says another account than the bosslet's own."""

    def __init__(self, name):
        with open(os.path.join(ROOT, "config", "bosslets.json")) as file:
            known = json.load(file)
        if name not in known:
            raise SystemExit("there is no bosslet {}: {}".format(name, ", ".join(sorted(known))))
        self.name = name
        self.session = boto3.Session(profile_name=os.environ.get("AWS_PROFILE", known[name]["profile"]))
        self.clients = {}

    def client(self, service):
        """One client a service."""
        if service not in self.clients:
            self.clients[service] = self.session.client(service)
        return self.clients[service]

    def stack(self, config):
        """production.boss, core: CoreProductionBoss."""
        return "".join(part.capitalize() for part in [config] + self.name.split("."))

    def image(self, machine, version):
        """The newest image of a machine whose version begins so: h is any that is named by a commit."""
        found = self.client("ec2").describe_images(Owners=["self"], Filters=[
            {"Name": "name", "Values": [machine + SUFFIX + "-" + version + ("*" if version == "h" else "")]}])["Images"]
        if not found:
            raise SystemExit("there is no image of {} for {}".format(machine, version))
        return max(found, key=lambda image: (image["CreationDate"], image["Name"]))["ImageId"]


def commit():
    """The checkout's own."""
    return subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
