"""What MITx has at AWS before the upgrade; then serves it: moto on port 5000, names on 127.0.0.1:5353, visitors' ways
in on 127.0.0.2 (load balancers) and 127.0.0.3 (CloudFront)."""
import os
import sys
import time

import boto3

import aws_edge
import aws_server
import route53_dns
from moto.cloudfront.models import cloudfront_backends

ENDPOINT = "http://127.0.0.1:5000"
PAGE = "d111111abcdef8.cloudfront.net"  # the cloud chooses such names; this one stands in the environments
LIVE, DRAFT = "edx-next-residential-live-mitx-q", "edx-next-residential-draft-mitx"
IN_SERVICE = {
    "edx-mitx-qa-next-residential-draft-0-v3": ("10.77.0.51", "next-residential-draft", "edx", DRAFT),
    "edx-mitx-qa-next-residential-live-0-v3": ("10.77.0.52", "next-residential-live", "edx", LIVE),
    "edx-worker-mitx-qa-next-residential-live-0-v3": ("10.77.0.53", "next-residential-live", "edx-worker", None),
}


def client(service):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="world",
                        aws_secret_access_key="world")


def request_of_neap(environ):
    if not environ.get("HTTP_USER_AGENT", "").startswith("Boto3"):
        return aws_server.request_line(environ)


def network():
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.0.0/24")["Subnet"]["SubnetId"]


def balancers(subnet):
    elb, names = client("elb"), {}
    for name in (LIVE, DRAFT):
        made = elb.create_load_balancer(LoadBalancerName=name, Subnets=[subnet], Listeners=[
            {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 80}])
        names[name] = made["DNSName"]
    return names


def machines(subnet):
    ec2, elb = client("ec2"), client("elb")
    for name, (address, purpose, role, balancer) in IN_SERVICE.items():
        tags = {"Name": name, "environment": "mitx-qa", "purpose": purpose, "role": role, "release-version": "3"}
        made = ec2.run_instances(
            ImageId="ami-04681a1dbd79675a5", MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=address,
            InstanceType="t3.large", TagSpecifications=[{"ResourceType": "instance", "Tags": [
                {"Key": key, "Value": value} for key, value in tags.items()]}])
        if balancer:
            elb.register_instances_with_load_balancer(LoadBalancerName=balancer, Instances=[
                {"InstanceId": made["Instances"][0]["InstanceId"]}])


def maintenance_page():
    s3 = client("s3")
    s3.create_bucket(Bucket="upgrading.mitx.mit.edu")
    s3.put_object(Bucket="upgrading.mitx.mit.edu", Key="index.html", ContentType="text/html",
                  Body=b"<p>Residential MITx is being upgraded.</p>\n")
    origin = {"Id": "s3", "DomainName": "upgrading.mitx.mit.edu.s3.amazonaws.com",
              "S3OriginConfig": {"OriginAccessIdentity": ""}}
    made = client("cloudfront").create_distribution(DistributionConfig={
        "CallerReference": "lab", "Comment": "maintenance", "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {"TargetOriginId": "s3", "ViewerProtocolPolicy": "allow-all"}})
    backend = cloudfront_backends[aws_server.ACCOUNT]["aws"]
    backend.distributions[made["Distribution"]["Id"]].domain_name = PAGE


def names(balancer_names):
    route53 = client("route53")
    zone = route53.create_hosted_zone(Name="mitx.mit.edu", CallerReference="lab")["HostedZone"]["Id"]
    of = {"lms": LIVE, "studio": DRAFT, "staging": DRAFT}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": "CREATE", "ResourceRecordSet": {
            "Name": name + ".mitx.mit.edu", "Type": "CNAME", "TTL": 60,
            "ResourceRecords": [{"Value": balancer_names[balancer]}]}} for name, balancer in of.items()]})


def database():
    client("rds").create_db_instance(
        DBInstanceIdentifier="mitx-qa-rds-mysql", DBInstanceClass="db.t3.medium", Engine="mysql", AllocatedStorage=20,
        MasterUsername="odldevops", MasterUserPassword="of-moto-alone")


def main():
    os.environ["MOTO_ACCOUNT_ID"] = aws_server.ACCOUNT
    aws_server.start("0.0.0.0", 5000, aws_server.Logged(
        aws_server.application(), os.path.expanduser("~/aws.log"), request_of_neap))
    subnet = network()
    balancer_names = balancers(subnet)
    machines(subnet)
    maintenance_page()
    names(balancer_names)
    database()
    route53_dns.start(ENDPOINT, "127.0.0.1", 5353, 1.5,
                      {"elb.amazonaws.com": "127.0.0.2", "cloudfront.net": "127.0.0.3"})
    aws_edge.start("127.0.0.2",
                   aws_edge.load_balancer(ENDPOINT, lambda host: LIVE if host.startswith("lms") else DRAFT))
    aws_edge.start("127.0.0.3", aws_edge.cloudfront(ENDPOINT, "upgrading.mitx.mit.edu", "index.html"))
    open(sys.argv[1], "w").close()
    while True:
        time.sleep(3600)


main()
