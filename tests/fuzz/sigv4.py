"""What botocore signs a request with: a line of JSON for each line of JSON."""
import datetime
import json
import sys

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from urllib.parse import quote, urlsplit

KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "https://h.example.com"
REGION, SECONDS = "us-east-1", 60


class Frozen(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return cls(2015, 8, 30, 12, 36, 0)

    @classmethod
    def now(cls, tz=None):
        return cls(2015, 8, 30, 12, 36, 0, tzinfo=tz)


def request_of(asked, **more):
    pairs = "&".join(quote(name, safe="-_.~") + "=" + quote(value, safe="-_.~") for name, value in asked["query"])
    return botocore.awsrequest.AWSRequest(asked["method"], HOST + asked["path"] + ("?" + pairs if pairs else ""), **more)


def signed(asked):
    request = request_of(asked, headers=asked["headers"], data=asked["body"].encode())
    signer = botocore.auth.S3SigV4Auth if asked["service"] == "s3" else botocore.auth.SigV4Auth
    signer(botocore.credentials.Credentials(*KEY, asked.get("token")), asked["service"], REGION).add_auth(request)
    return request.headers["Authorization"]


def presigned(asked):
    request = request_of(asked)
    botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(*KEY, asked.get("token")), "s3", REGION,
                                   SECONDS).add_auth(request)
    return sorted(urlsplit(request.prepare().url).query.split("&"))


botocore.auth.datetime.datetime = Frozen
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"authorization": signed(asked), "presigned": presigned(asked)}), flush=True)
