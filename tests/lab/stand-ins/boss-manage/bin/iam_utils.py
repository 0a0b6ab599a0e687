#!/usr/bin/env python3
"""Stands in for boss-manage's iam_utils.py: writes what an account has to config/iam, in one order."""
import argparse
import json
import os

from bosslet import ROOT, Bosslet


def groups(iam):
    return [{"GroupName": one["GroupName"]} for one in iam.list_groups()["Groups"]]


def roles(iam):
    return [{"RoleName": one["RoleName"], "AssumeRolePolicyDocument": one["AssumeRolePolicyDocument"]}
            for one in iam.list_roles()["Roles"]]


def policies(iam):
    return [{"PolicyName": one["PolicyName"], "PolicyDocument": iam.get_policy_version(
        PolicyArn=one["Arn"], VersionId=one["DefaultVersionId"])["PolicyVersion"]["Document"]}
        for one in iam.list_policies(Scope="Local")["Policies"]]


KINDS = {"groups": groups, "roles": roles, "policies": policies}
parser = argparse.ArgumentParser()
parser.add_argument("bosslet_name")
parser.add_argument("command", choices=["export"])
parser.add_argument("resource_type", choices=list(KINDS), nargs="+")
args = parser.parse_args()
account = Bosslet(args.bosslet_name).client("iam")
for kind in args.resource_type:
    found = sorted(KINDS[kind](account), key=json.dumps)
    with open(os.path.join(ROOT, "config", "iam", kind + ".json"), "w") as file:
        json.dump(found, file, indent=4, sort_keys=True)
        file.write("\n")
