"""What salt-cloud does for MITx: an instance in EC2 (moto) and, in its place, a machine of the lab that stands ready."""
import os
import subprocess
import time

import boto3

KEY = "/root/.ssh/id_ed25519"
READY = ["10.77.0.%d" % number for number in range(61, 66)]


def client(service):
    return boto3.client(service, endpoint_url="http://10.77.0.1:5000", region_name="us-east-1",
                        aws_access_key_id="lab", aws_secret_access_key="lab")


def instances(*filters):
    wanted = [{"Name": name, "Values": values} for name, values in filters]
    wanted.append({"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]})
    found = client("ec2").describe_instances(Filters=wanted)
    return [one for group in found["Reservations"] for one in group["Instances"]]


def named(name):
    found = instances(("tag:Name", [name]))
    return found[0] if found else None


def on_machine(address, *words):
    argv = ["ssh", "-i", KEY, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
            "-o", "UserKnownHostsFile=/dev/null", "ops@" + address, "sudo", "/edx/lab/machine"] + list(words)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (address, done.stdout.strip()))


def address():
    taken = [one["PrivateIpAddress"] for one in instances()]
    free = [one for one in READY if one not in taken]
    if not free:
        raise RuntimeError("no machine stands ready for another instance")
    return free[0]


def launch(name, kind, image, tags, commit):
    """An instance of that name, made if it is not there; returns its id, and whether it was made."""
    there = named(name)
    if there:
        return there["InstanceId"], False
    place, ec2 = address(), client("ec2")
    subnet = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.77.0.0/24"]}])["Subnets"][0]
    tags = dict(tags, Name=name)
    made = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.large", SubnetId=subnet["SubnetId"],
        PrivateIpAddress=place, TagSpecifications=[{"ResourceType": "instance", "Tags": [
            {"Key": key, "Value": value} for key, value in tags.items()]}])
    on_machine(place, "born", name, kind, "10.77.0.41", commit)
    wait_for_key(name)
    return made["Instances"][0]["InstanceId"], True


def wait_for_key(name):
    for _ in range(300):
        if os.path.exists("/etc/salt/pki/master/minions/" + name):
            return
        time.sleep(0.1)
    raise RuntimeError("the minion %s did not come" % name)


def destroy(name):
    there = named(name)
    if not there:
        return False
    client("ec2").terminate_instances(InstanceIds=[there["InstanceId"]])
    on_machine(there["PrivateIpAddress"], "ended")
    key = "/etc/salt/pki/master/minions/" + name
    if os.path.exists(key):
        os.remove(key)
    return True
