"""What botocore signs a request with: a line of JSON for each line of JSON."""
import datetime
import json
import sys

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from urllib.parse import quote

CREDENTIALS = botocore.credentials.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


def signer_of(asked):
    kind = botocore.auth.S3SigV4Auth if asked["service"] == "s3" else botocore.auth.SigV4Auth
    made = kind(CREDENTIALS, asked["service"], "us-east-1")
    made._modify_request_before_signing = lambda request: None
    return made


def signed(asked):
    query = "&".join("%s=%s" % (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in asked["query"])
    request = botocore.awsrequest.AWSRequest(asked["method"], "https://h.example.com" + asked["path"]
        + ("?" + query if query else ""), headers=asked["headers"], data=asked["body"].encode())
    signer = signer_of(asked)
    request.context["timestamp"] = asked["time"]
    request.headers["X-Amz-Date"] = asked["time"]
    if asked["service"] == "s3":
        request.headers["X-Amz-Content-SHA256"] = signer.payload(request)
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    signature = signer.signature(text, request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    return {"canonical": canonical, "authorization": "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s" % (
        signer.scope(request), names, signature)}


for line in sys.stdin:
    print(json.dumps(signed(json.loads(line))), flush=True)
