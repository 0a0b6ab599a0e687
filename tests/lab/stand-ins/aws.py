#!/usr/bin/env python3
"""Stands in for AWS and for the name servers of the world: moto, made stricter, and what its Route 53 says by DNS.

    aws.py FOLDER PORT NAMESERVER…     NAMESERVER: PORT:SECONDS, how long after a change it answers by it

FOLDER/requests  a line for each request: METHOD PATH OPERATION
FOLDER/refused   names of stacks, one a line, whose updates fail as an update of resources does
What moto lacks and AWS does: DynamoDB takes one change of indexes in an update, and a stack's update that fails is rolled
back; a new size of a cache is not taken. The account of a key that STS gave is the one of its role.
"""
import json
import os
import sys
import threading

from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.dynamodb.models import dynamodb_backends

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import aws_server
import route53_dns

FOLDER, PORT, SERVERS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
ELSEWHERE = {"elb.amazonaws.com": "10.77.0.42", "cloudfront.net": "10.77.0.9"}  # what is not in Route 53


def lines_of(name):
    try:
        with open(os.path.join(FOLDER, name)) as file:
            return file.read().split("\n")
    except FileNotFoundError:
        return []


# ---- CloudFormation ----

def resources_of(template, kind):
    resources = json.loads(template).get("Resources", {})
    return {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}


def indexes_of(table):
    return {one["IndexName"]: one for one in table.get("GlobalSecondaryIndexes", [])}


def changed_indexes(before, after):
    names = set(before) | set(after)
    return [name for name in names if before.get(name) != after.get(name)
            for _ in range((name in before) + (name in after))]


def complaint(stack, template):
    """Why AWS would not make this update; None where it would."""
    if stack.name in lines_of("refused"):
        return "Resource handler returned message: the resource is not stabilized"
    kind = "AWS::ElastiCache::ReplicationGroup"
    before, after = resources_of(stack.template, kind), resources_of(template, kind)
    for name in before.keys() & after.keys():
        if before[name].get("CacheNodeType") != after[name].get("CacheNodeType"):
            return "CacheNodeType of {} cannot be updated".format(name)
    before, after = (resources_of(one, "AWS::DynamoDB::Table") for one in (stack.template, template))
    for name in before.keys() & after.keys():
        if len(changed_indexes(indexes_of(before[name]), indexes_of(after[name]))) > 1:
            return "Cannot perform more than one GSI creation or deletion in a single update"
    return None


def update_tables(backend, before, after):
    """moto leaves the indexes of a table as they are."""
    tables = dynamodb_backends[backend.account_id][backend.region_name]
    before, after = (resources_of(one, "AWS::DynamoDB::Table") for one in (before, after))
    for name in before.keys() & after.keys():
        was, will = indexes_of(before[name]), indexes_of(after[name])
        updates = [{"Delete": {"IndexName": one}} for one in was.keys() - will.keys()]
        updates += [{"Create": will[one]} for one in will.keys() - was.keys()]
        if updates:
            tables.update_table(after[name]["TableName"], after[name]["AttributeDefinitions"], updates,
                                None, None, None, None, None)


execute_change_set = CloudFormationBackend.execute_change_set


def execute(self, change_set_name, stack_name=None):
    named = [one for key, one in self.change_sets.items() if change_set_name in (key, one.change_set_name)]
    stack = self.stacks[named[-1].stack_id]
    before, after = stack.template, named[-1].template
    reason = named[-1].change_set_type == "UPDATE" and complaint(stack, after)
    if reason:
        stack._add_stack_event("UPDATE_FAILED", resource_status_reason=reason)
        stack.status = "UPDATE_ROLLBACK_COMPLETE"
        del self.change_sets[named[-1].change_set_id]
        return
    execute_change_set(self, change_set_name, stack_name)
    if named[-1].change_set_type == "UPDATE":
        stack.tags = named[-1].tags
        update_tables(self, before, after)


def shown_parameters(stack):
    hidden = stack.resource_map.no_echo_parameter_keys
    return [{"ParameterKey": key, "ParameterValue": "****" if key in hidden else value}
            for key, value in stack.resource_map.resolved_parameters.items()]


CloudFormationBackend.execute_change_set = execute
Stack.parameter_list = property(shown_parameters)

# ---- the server ----

def main():
    os.makedirs(FOLDER, exist_ok=True)
    aws_server.start("127.0.0.1", PORT, aws_server.Logged(
        aws_server.application(), os.path.join(FOLDER, "requests"), aws_server.request_line))
    for one in SERVERS:
        port, seconds = one.split(":")
        route53_dns.start("http://127.0.0.1:%d" % PORT, "127.0.0.1", int(port), float(seconds), ELSEWHERE)
    threading.Event().wait()


main()
