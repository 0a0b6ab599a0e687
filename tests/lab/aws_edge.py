"""What visitors reach of AWS in the lab: a classic load balancer's machines, and a bucket by way of CloudFront. Names come
from route53_dns.py, by which all of the one lead to one address, and all of the other to another."""
import http.server
import threading
import urllib.error
import urllib.request

import boto3


class Edge(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, body = self.fetch()
        except OSError as failure:
            status, body = 503, str(failure).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def answer_of(request):
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def clients(endpoint):
    return lambda service: boto3.client(service, endpoint_url=endpoint, region_name="us-east-1",
                                        aws_access_key_id="edge", aws_secret_access_key="edge")


def load_balancer(endpoint, balancer_of):
    """Hands a request on to the first machine that is in service behind balancer_of(its host)."""
    client = clients(endpoint)
    elb, ec2 = client("elb"), client("ec2")

    def fetch(self):
        host = self.headers["Host"].split(":")[0]
        states = elb.describe_instance_health(LoadBalancerName=balancer_of(host))["InstanceStates"]
        well = [one["InstanceId"] for one in states if one["State"] == "InService"]
        if not well:
            return 503, b"no machine is in service\n"
        address = ec2.describe_instances(InstanceIds=well[:1])["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
        return answer_of(urllib.request.Request("http://%s%s" % (address, self.path), headers={"Host": host}))

    return type("LoadBalancer", (Edge,), {"fetch": fetch})


def cloudfront(endpoint, bucket, key):
    """Gives every visitor one object, as a distribution does whose error page it is."""
    s3 = clients(endpoint)("s3")

    def fetch(self):
        return 200, s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return type("CloudFront", (Edge,), {"fetch": fetch})


def start(address, handler):
    """Serves until the program ends, on port 80."""
    server = http.server.ThreadingHTTPServer((address, 80), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
