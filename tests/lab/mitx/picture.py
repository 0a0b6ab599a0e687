"""What there is of MITx: AWS by boto3, repositories by git, hosts by their consoles. One JSON text; instances by their
names, since every run makes others. picture.py HOME"""
import concurrent.futures
import json
import subprocess
import sys

import boto3

HOSTS = ["draft", "live", "worker", "spare1", "spare2", "spare3", "spare4", "spare5"]


def client(service):
    return boto3.client(service, endpoint_url="http://127.0.0.1:5000", region_name="us-east-1",
                        aws_access_key_id="picture", aws_secret_access_key="picture")


def on(host, text):
    done = subprocess.run(["tests/lab/lab", "sh", host, "sh", "-c", text], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()


def git(folder, *words):
    done = subprocess.run(["git", "-C", folder] + list(words), stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().split("\n")


def instances():
    names = {}
    running = [{"Name": "instance-state-name", "Values": ["running"]}]
    for group in client("ec2").describe_instances(Filters=running)["Reservations"]:
        for one in group["Instances"]:
            names[one["InstanceId"]] = [tag["Value"] for tag in one["Tags"] if tag["Key"] == "Name"][0]
    return names


def aws():
    names, ec2 = instances(), client("ec2")
    balancers = client("elb").describe_load_balancers()["LoadBalancerDescriptions"]
    zone = client("route53").list_hosted_zones()["HostedZones"][0]["Id"]
    page = client("s3").get_object(Bucket="upgrading.mitx.mit.edu", Key="index.html")
    images = {one["ImageId"]: one["Name"] for one in ec2.describe_images(Owners=["self"])["Images"]}
    return images, {
        "instances": sorted(names.values()),
        "images": sorted(images.values()),
        "volumes": len(ec2.describe_snapshots(OwnerIds=["123456789012"])["Snapshots"]),
        "balancers": {one["LoadBalancerName"]: sorted(
            names.get(member["InstanceId"], "gone") for member in one["Instances"]) for one in balancers},
        "names": sorted("%s %s %s" % (one["Name"], one["Type"], [value["Value"] for value in one["ResourceRecords"]])
                        for one in client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
                        if one["Type"] in ("A", "AAAA", "CNAME")),
        "page": [page["ContentType"], page["Metadata"], page["Body"].read().decode()],
        "snapshots": len([one for one in client("rds").describe_db_snapshots()["DBSnapshots"]
                          if one["SnapshotType"] == "manual"]),
    }


def processes(host):
    said = on(host, "cat /etc/salt/minion_id; /edx/bin/supervisorctl status | awk '{ print $1, $2 }'; "
              "cat /edx/etc/lms.yml; git -c safe.directory='*' -C /edx/app/edxapp/edx-platform log -1 --format=%s").split("\n")
    return said[0], said[1:]


def main():
    images, found = aws()
    stored = json.loads(on("salt", "cat /srv/consul.json"))
    found["stored"] = {key: images.get(value, value) for key, value in stored.items()}
    found["minions"] = on("salt", "ls /etc/salt/pki/master/minions").split("\n")
    found["branches"] = git("/srv/git/edx-platform.git", "for-each-ref", "--format=%(refname) %(tree) %(subject)")
    here = sys.argv[1] + "/git/edx-platform"
    found["here"] = git(here, "for-each-ref", "--format=%(refname) %(tree) %(upstream)", "refs/heads")
    found["checked out"] = git(here, "symbolic-ref", "HEAD")
    listed = on("database", "mariadb edxapp -Ne 'select name from django_migrations order by id'")
    found["migrations"] = listed.split("\n")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found["hosts"] = dict(pool.map(processes, HOSTS))
    print(json.dumps(found, sort_keys=True, indent=1))


main()
