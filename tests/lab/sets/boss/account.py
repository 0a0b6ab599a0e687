"""What the accounts of the lab have before a stack is made in them, and credentials for the developers' account."""
import json
import os
import socket
import time

import boto3

for _ in range(300):
    try:
        socket.create_connection(("127.0.0.1", 5000)).close()
        break
    except OSError:
        time.sleep(0.05)
boss = boto3.Session(profile_name="boss-prod")

ec2 = boss.client("ec2")
for version in ("h1a2b3c4", "sprint18", "h5d6e7f8"):
    for machine in ("auth", "vault", "endpoint", "cachemanager", "activities"):
        ec2.register_image(Name="{}.boss-{}".format(machine, version), RootDeviceName="/dev/xvda")

boss.client("s3").create_bucket(Bucket="lambda.production.boss")
boss.client("iam").create_role(RoleName="BossLambda", AssumeRolePolicyDocument="{}")

sns = boss.client("sns")
topic = sns.create_topic(Name="ProductionMicronsMailingList")["TopicArn"]
sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@theboss.lab")
sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint="+14105550100")
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:pages",
              Attributes={"RawMessageDelivery": "true", "FilterPolicy": '{"severity": ["high"]}'})
boss.client("events").put_rule(Name="deleteEventRule.production.boss", ScheduleExpression="rate(1 day)")

elb, dns = boss.client("elb"), boss.client("route53")
zone = dns.create_hosted_zone(Name="theboss.lab", CallerReference="1")["HostedZone"]["Id"]
for name in ("api", "auth"):
    balancer = elb.create_load_balancer(
        LoadBalancerName=name + "-production-boss", AvailabilityZones=["us-east-1a"],
        Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}])["DNSName"]
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{
        "Action": "CREATE", "ResourceRecordSet": {"Name": name + ".theboss.lab", "Type": "CNAME", "TTL": 300,
                                                  "ResourceRecords": [{"Value": balancer}]}}]})

iam = boss.client("iam")
iam.create_group(GroupName="bossadmins")
iam.create_policy(PolicyName="BossEndpoint", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::cuboids.production.boss/*"}]}))
key = boss.client("sts").assume_role(RoleArn="arn:aws:iam::210987654321:role/Developer", RoleSessionName="lab")["Credentials"]
with open(os.path.expanduser("~/.aws/credentials"), "a") as file:
    file.write("[boss-dev]\naws_access_key_id = {AccessKeyId}\naws_secret_access_key = {SecretAccessKey}\n"
               "aws_session_token = {SessionToken}\n".format(**key))
developer = boto3.Session(profile_name="boss-dev")
developer.client("iam").create_group(GroupName="developers")
developer.client("iam").create_role(RoleName="Developer", AssumeRolePolicyDocument="{}")
