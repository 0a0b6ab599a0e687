"""AWS for a set of the lab: moto, which writes down each request of neap, and asks the machines behind a classic load
balancer whether they are healthy. To be imported by what a set serves, in moto's Python (vendor/moto.sh)."""
import io
import logging
import threading
import urllib.request

from moto.ec2.models import ec2_backends
from moto.elb.models import ELBBackend
from moto.route53.models import ChangeList
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCOUNT, REGION = "123456789012", "us-east-1"
logging.getLogger("werkzeug").disabled = True
ChangeList.__contains__ = lambda self, item: False  # else a record that is deleted and made anew is refused
registered = ELBBackend.describe_instance_health


def is_healthy(instance):
    address = ec2_backends[ACCOUNT][REGION].get_instance(instance).private_ip
    try:
        with urllib.request.urlopen("http://%s/heartbeat" % address, timeout=2) as reply:
            return reply.status == 200
    except OSError:
        return False


def health(self, lb_name, instances):
    """In place of moto's, to which an instance is healthy while it runs."""
    states = registered(self, lb_name, instances)
    for one in states:
        if one["State"] == "InService" and not is_healthy(one["InstanceId"]):
            one["State"] = "OutOfService"
    return states


def asked_for(environ):
    if "x-www-form-urlencoded" not in environ.get("CONTENT_TYPE", ""):
        return environ.get("HTTP_X_AMZ_TARGET") or environ.get("QUERY_STRING", "")
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return " ".join(word for word in body.decode().split("&") if word.startswith("Action="))


class Logged:
    """One line a request of neap: method, address, what is asked for."""

    def __init__(self, app, path):
        self.app, self.log = app, open(path, "a", buffering=1)

    def __call__(self, environ, start_response):
        if not environ.get("HTTP_USER_AGENT", "").startswith("Boto3"):
            self.log.write("%s %s %s\n" % (environ["REQUEST_METHOD"], environ["PATH_INFO"], asked_for(environ)))
        return self.app(environ, start_response)


def start(address, port, log):
    """Serves until the program ends."""
    ELBBackend.describe_instance_health = health
    app = Logged(DomainDispatcherApplication(create_backend_app), log)
    server = make_server(address, port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
