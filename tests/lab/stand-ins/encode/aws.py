"""AWS for the lab of ENCODE: moto, with the users, keys and buckets that are there before a release.

aws.py FILE      serves at port 5000, and makes FILE as soon as it does; runs until it is ended
"""
import os
import pathlib
import sys
import threading

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../.."))
import aws_server
from aws_server import ACCOUNT

KEYS = {  # as the files of credentials on the old server have them, and the ones before those
    "write-encoded-backups": ("AKIABACKUPSINUSE0087", "AKIABACKUPSEARLIER86"),
    "upload-encode-files": ("AKIAUPLOADSINUSE0087", "AKIAUPLOADSEARLIER86"),
}


def users():
    iam = iam_backends[ACCOUNT]["aws"]
    for name, (active, inactive) in KEYS.items():
        iam.create_user("us-east-1", name)
        for key_id, status in ((active, "Active"), (inactive, "Inactive")):
            key = iam.create_access_key(name, status=status)
            iam.access_keys[key_id] = iam.access_keys.pop(key.access_key_id)
            key.access_key_id = key_id


def buckets():
    s3 = s3_backends[ACCOUNT]["aws"]
    for name in ("encoded-logs", "encoded-backups-prod"):
        s3.create_bucket(name, "us-west-2")


users()
buckets()
aws_server.start("0.0.0.0", 5000, aws_server.application())
ec2_backends[ACCOUNT]["us-west-2"].describe_instances()
pathlib.Path(sys.argv[1]).touch()
threading.Event().wait()
