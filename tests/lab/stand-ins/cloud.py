"""AWS, by moto, with what RDW's opus has there at version 1.0; and a name server that answers from its zones.

    cloud.py PORT DNS-PORT LOG      LOG: a line for each request, "service Operation"

GET /lab/state tells, as JSON, all that a procedure may change there.
"""
import hashlib
import json
import os
import re
import sys
import threading

os.environ.update(MOTO_ACCOUNT_ID="478575410002", AWS_ACCESS_KEY_ID="lab", AWS_SECRET_ACCESS_KEY="lab",
                  AWS_DEFAULT_REGION="us-west-2", NO_PROXY="*")
import boto3  # noqa: E402
sys.path[:0] = [os.path.join(os.path.dirname(__file__), folder) for folder in ("..", "../../targets/aws")]
import aws_server  # noqa: E402
import route53_dns  # noqa: E402
import moto_redshift  # noqa: E402,F401  # what moto lacks of it

PORT, DNS_PORT, LOG = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ZONE = "sbac.org"


def client(service):
    return boto3.client(service, endpoint_url="http://127.0.0.1:%d" % PORT)


# ---- what is there ----

def make_network():
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="172.20.0.0/16", TagSpecifications=[
        {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "opus"}]}])["Vpc"]["VpcId"]
    for i, zone in enumerate("abc"):
        ec2.create_subnet(VpcId=vpc, CidrBlock="172.20.%d.0/24" % i, AvailabilityZone="us-west-2" + zone)
    ec2.create_security_group(GroupName="nodes.awsopus.sbac.org", Description="nodes", VpcId=vpc)


def make_names():
    route53 = client("route53")
    zone = route53.create_hosted_zone(Name=ZONE, CallerReference="lab")["HostedZone"]["Id"]
    names = {"reporting": "reporting-service.elb.lab", "admin": "admin-service.elb.lab", "import": "import-service.elb.lab"}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": "CREATE", "ResourceRecordSet": {"Name": "%s.%s" % (name, ZONE), "Type": "CNAME", "TTL": 60,
                                                   "ResourceRecords": [{"Value": value}]}}
        for name, value in names.items()]})


def make_rest():
    rds, s3, alarms = client("rds"), client("s3"), client("cloudwatch")
    for name in ("warehouse", "reporting"):
        rds.create_db_cluster(DBClusterIdentifier="rdw-opus-%s-cluster" % name, Engine="aurora-mysql",
                              MasterUsername="root", MasterUserPassword="of-the-lab")
    for bucket in ("rdw-opus-archive", "rdw-opus-docs", "kops-awsopus-sbac-org-state-store"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket="rdw-opus-docs", Key="guides/UserGuide.pdf", Body=b"the user guide of 1.0", ContentType="application/pdf")
    client("iam").create_policy(PolicyName="AllowRdwOpusArchiveBucket", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*",
                                                 "Resource": "arn:aws:s3:::rdw-opus-archive/*"}]}))
    for name in ("import-errors", "reporting-latency", "admin-webapp-errors"):
        alarms.put_metric_alarm(AlarmName="rdw-opus-" + name, MetricName=name, Namespace="RDW", Statistic="Sum", Period=60,
                                EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
                                ActionsEnabled=True)


# ---- what it is like ----

def state():
    route53, rds, s3, iam, ec2 = (client(name) for name in ("route53", "rds", "s3", "iam", "ec2"))
    redshift, found = client("redshift"), {}
    zone = route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
    found["records"] = ["%s %s %s %s" % (one["Name"], one["Type"], one.get("TTL"), one.get("AliasTarget", [
        value["Value"] for value in one.get("ResourceRecords", [])]))
        for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"] if one["Type"] in ("A", "CNAME")]
    found["snapshots"] = sorted(one["DBClusterSnapshotIdentifier"]
                                for one in rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"])
    found["objects"] = ["%s/%s %s" % (bucket["Name"], one["Key"], hashlib.sha256(
        s3.get_object(Bucket=bucket["Name"], Key=one["Key"])["Body"].read()).hexdigest()[:12])
        for bucket in s3.list_buckets()["Buckets"] for one in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])]
    found["roles"] = ["%s %s" % (one["RoleName"], [
        policy["PolicyName"] for policy in iam.list_attached_role_policies(RoleName=one["RoleName"])["AttachedPolicies"]])
        for one in iam.list_roles()["Roles"]]
    found["groups"] = sorted("%s %s" % (one["GroupName"], [
        (rule.get("FromPort"), [pair["GroupId"] for pair in rule["UserIdGroupPairs"]], [
            cidr["CidrIp"] for cidr in rule["IpRanges"]]) for rule in one["IpPermissions"]])
        for one in ec2.describe_security_groups()["SecurityGroups"])
    found["alarms"] = ["%s %s" % (one["AlarmName"], one["ActionsEnabled"])
                       for one in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    found["clusters"] = ["%s %s %d %s %s" % (
        one["ClusterIdentifier"], one["NodeType"], one["NumberOfNodes"], [
            group["ParameterGroupName"] for group in one["ClusterParameterGroups"]],
        [role["IamRoleArn"] for role in one["IamRoles"]]) for one in redshift.describe_clusters()["Clusters"]]
    found["parameter groups"] = [one["ParameterGroupName"]
                                 for one in redshift.describe_cluster_parameter_groups()["ParameterGroups"]]
    found["subnet groups"] = [one["ClusterSubnetGroupName"]
                              for one in redshift.describe_cluster_subnet_groups()["ClusterSubnetGroups"]]
    return json.dumps(found, indent=1, sort_keys=True)


# ---- the server ----

def line_of(environ):
    """Service and operation; nothing of what the lab itself asks."""
    scope = re.search(r"Credential=(\w+)/\d+/[\w-]+/(\w+)/", environ.get("HTTP_AUTHORIZATION", ""))
    if not scope or scope.group(1) in ("lab", "dns"):
        return None
    what = aws_server.operation(environ)
    what = what.split(".")[-1] if what else environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"]
    return "%s %s" % (scope.group(2), what)


def with_state(app):
    def call(environ, start_response):
        if environ["PATH_INFO"] != "/lab/state":
            return app(environ, start_response)
        body = state().encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return call


def main():
    aws_server.start("0.0.0.0", PORT, with_state(aws_server.Logged(aws_server.application(), LOG, line_of)))
    make_network()
    make_names()
    make_rest()
    route53_dns.start("http://127.0.0.1:%d" % PORT, "127.0.0.1", DNS_PORT, 0, {})
    print("served", flush=True)
    threading.Event().wait()


main()
