"""What the accounts of the lab have, as boto3 sees it, in words that are the same each time the lab is begun anew."""
import json

import boto3

boss, developer = boto3.Session(profile_name="boss-prod"), boto3.Session(profile_name="boss-dev")


def images(session):
    return {one["ImageId"]: one["Name"] for one in session.client("ec2").describe_images(Owners=["self"])["Images"]}


def stack(cloudformation, one, names):
    template = json.dumps(cloudformation.get_template(StackName=one["StackName"])["TemplateBody"], sort_keys=True)
    for image, name in names.items():
        template = template.replace(image, name)
    sets = [each for each in cloudformation.list_change_sets(StackName=one["StackName"])["Summaries"]
            if each["ExecutionStatus"] == "AVAILABLE"]
    return {"template": json.loads(template), "parameters": one.get("Parameters"), "tags": sorted(
        each["Key"] + "=" + each["Value"] for each in one.get("Tags", [])), "open change sets": len(sets)}


def subscriptions(sns):
    topic = sns.list_topics()["Topics"][0]["TopicArn"]
    found = []
    for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        attributes = sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])["Attributes"]
        found.append([one["Protocol"], one["Endpoint"], attributes.get("FilterPolicy"), attributes["RawMessageDelivery"]])
    return sorted(found, key=str)


def records(route53):
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    return [[one["Name"], one["Type"], one.get("TTL"), [each["Value"] for each in one.get("ResourceRecords", [])]]
            for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
            if one["Type"] not in ("NS", "SOA")]


cloudformation, functions, states = boss.client("cloudformation"), boss.client("lambda"), boss.client("stepfunctions")
dynamodb = boss.client("dynamodb")
own = images(boss)
print(json.dumps({
    "stacks": {one["StackName"]: stack(cloudformation, one, own) for one in cloudformation.describe_stacks()["Stacks"]},
    "functions": {one["FunctionName"]: one["CodeSha256"] for one in functions.list_functions()["Functions"]},
    "machines": {one["name"]: states.describe_state_machine(stateMachineArn=one["stateMachineArn"])["definition"]
                 for one in states.list_state_machines()["stateMachines"]},
    "indexes": sorted(one["IndexName"] for one in dynamodb.describe_table(TableName="tileindex.production.boss")["Table"]
                      .get("GlobalSecondaryIndexes", [])),
    "databases": sorted(one["DBInstanceIdentifier"] for one in boss.client("rds").describe_db_instances()["DBInstances"]),
    "images": sorted(own.values()), "developers' images": sorted(images(developer).values()),
    "mailing list": subscriptions(boss.client("sns")), "records": records(boss.client("route53")),
    "delete rule": boss.client("events").describe_rule(Name="deleteEventRule.production.boss")["State"],
}, indent=1, sort_keys=True))
