#!/usr/bin/env python3
"""Stands in for boss-manage's packer.py: an image for each machine, without building anything."""
import argparse

from bosslet import SUFFIX, Bosslet, commit

parser = argparse.ArgumentParser()
parser.add_argument("--name", "--ami-version", dest="version", default="h" + commit()[:8])
parser.add_argument("bosslet_name")
parser.add_argument("config", nargs="+")
args = parser.parse_args()
ec2 = Bosslet(args.bosslet_name).client("ec2")
for machine in args.config:
    name = machine + SUFFIX + "-" + args.version
    if ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])["Images"]:
        raise SystemExit("Error: {} is there already".format(name))
    image = ec2.register_image(Name=name, RootDeviceName="/dev/xvda", Description=commit())["ImageId"]
    print("{}: {}".format(name, image))
