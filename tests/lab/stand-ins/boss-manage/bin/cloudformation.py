#!/usr/bin/env python3
"""Stands in for boss-manage's cloudformation.py: stacks of a bosslet, with the functions and state machines that some have.

What the stacks are stands in cloud_formation/configs.json: resources as templates have them, "@ami:MACHINE" for an image,
and beside them the names of functions and state machines. Templates are written to cloud_formation/templates.
"""
import argparse
import io
import json
import os
import sys
import time
import zipfile

from botocore.exceptions import ClientError
from bosslet import ROOT, Bosslet, commit

ACTIONS = ["create", "update", "delete", "generate"]
FOLDER = os.path.join(ROOT, "cloud_formation")
KEY = "multilambda.zip"


class Stack:
    """One configuration of one bosslet."""

    def __init__(self, bosslet, config, options):
        with open(os.path.join(FOLDER, "configs.json")) as file:
            self.config = json.load(file)[config]
        self.bosslet, self.options = bosslet, options
        self.name = bosslet.stack(config)
        self.bucket = "lambda." + bosslet.name
        self.cloudformation = bosslet.client("cloudformation")

    def filled(self, value):
        """The configuration with images by their ids."""
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if isinstance(value, str) and value.startswith("@ami:"):
            version = self.options.ami_version
            return self.bosslet.image(value[5:], "h" if version == "latest" else version)
        return value

    def template(self, indent=None):
        return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Description": self.name,
                           "Parameters": self.config.get("parameters", {}),
                           "Resources": self.filled(self.config["resources"])}, indent=indent)

    def arguments(self):
        return [{"ParameterKey": key, "ParameterValue": value} for key, value in self.config.get("arguments", {}).items()]

    def request(self):
        return {"StackName": self.name, "TemplateBody": self.template(indent=4), "Parameters": self.arguments(),
                "Tags": [{"Key": "StackVersion", "Value": "1"}, {"Key": "Commit", "Value": commit()}],
                "Capabilities": ["CAPABILITY_NAMED_IAM"]}

    def status(self):
        return self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]

    def wait(self, wanted):
        while self.status().endswith("_IN_PROGRESS"):
            time.sleep(1)
        if self.status() != wanted:
            raise SystemExit("Boss Manage Error: Status of stack '{}' is '{}'".format(self.name, self.status()))
        print("Stack '{}' is at {}".format(self.name, wanted))

    # ---- functions and state machines ----

    def build_functions(self):
        """The archive of all functions, the same bytes for the same code."""
        if not self.config.get("functions"):
            return
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive, open(os.path.join(FOLDER, "lambda", "index.py")) as code:
            archive.writestr(zipfile.ZipInfo("index.py"), code.read())
        self.bosslet.client("s3").put_object(Bucket=self.bucket, Key=KEY, Body=content.getvalue())

    def update_functions(self):
        for name in self.config.get("functions", []):
            try:
                self.bosslet.client("lambda").update_function_code(FunctionName=name, S3Bucket=self.bucket, S3Key=KEY)
            except ClientError as error:
                raise SystemExit("Error updating {}: {}".format(name, error))

    def machines(self):
        return {one["name"]: one["stateMachineArn"]
                for one in self.bosslet.client("stepfunctions").list_state_machines()["stateMachines"]}

    def write_machines(self):
        there, states = self.machines(), self.bosslet.client("stepfunctions")
        for name, definition in self.config.get("machines", {}).items():
            text = json.dumps(definition)
            if name in there:
                states.update_state_machine(stateMachineArn=there[name], definition=text)
            else:
                states.create_state_machine(name=name, definition=text, roleArn="arn:aws:iam::123456789012:role/Boss")

    def delete_machines(self):
        there = self.machines()
        for name in self.config.get("machines", {}):
            if name in there:
                self.bosslet.client("stepfunctions").delete_state_machine(stateMachineArn=there[name])

    # ---- actions ----

    def generate(self):
        folder = os.path.join(FOLDER, "templates")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, self.name + ".template"), "w") as file:
            file.write(self.template(indent=4))
        with open(os.path.join(folder, self.name + ".arguments"), "w") as file:
            json.dump(self.arguments(), file, indent=4)

    def create(self):
        self.build_functions()
        self.cloudformation.create_stack(**self.request())
        self.wait("CREATE_COMPLETE")
        self.write_machines()

    def delete(self):
        self.cloudformation.delete_stack(StackName=self.name)
        try:
            self.wait("DELETE_COMPLETE")
        except ClientError:
            print("Stack '{}' is gone".format(self.name))
        self.delete_machines()

    def preview(self, name):
        found = self.cloudformation.describe_change_set(StackName=self.name, ChangeSetName=name)
        for change in found["Changes"]:
            one = change["ResourceChange"]
            print("{:<10}{:<30}{}".format(one["Action"], one["LogicalResourceId"], one["ResourceType"]))
        print("Apply Update? [N/y] ", end="", flush=True)
        if self.options.disable_preview or sys.stdin.readline().strip() == "y":
            return
        self.cloudformation.delete_change_set(StackName=self.name, ChangeSetName=name)
        raise SystemExit("Canceled")

    def update(self):
        self.build_functions()
        self.update_functions()
        name = "h" + commit()
        self.cloudformation.create_change_set(ChangeSetName=name, ChangeSetType="UPDATE", **self.request())
        self.preview(name)
        self.cloudformation.execute_change_set(StackName=self.name, ChangeSetName=name)
        self.wait("UPDATE_COMPLETE")
        self.write_machines()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ami-version", default="latest")
    parser.add_argument("--scenario")
    parser.add_argument("--disable-preview", action="store_true")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("bosslet_name")
    parser.add_argument("config_name", nargs="+")
    options = parser.parse_args()
    bosslet = Bosslet(options.bosslet_name)
    for config in options.config_name:
        print("Working on {}".format(config))
        getattr(Stack(bosslet, config, options), options.action)()


main()
