"""AWS for a set of the lab: moto, imported by what a set serves, in moto's Python (vendor/moto.sh). The machines behind a
classic load balancer are asked whether they are healthy."""
import io
import logging
import threading
import urllib.parse
import urllib.request

from moto.ec2.models import ec2_backends
from moto.elb.models import ELBBackend
from moto.route53.models import ChangeList
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

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


ELBBackend.describe_instance_health = health


def operation(environ):
    """What is asked for; None where method and path say it."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return environ["HTTP_X_AMZ_TARGET"]
    if "x-www-form-urlencoded" not in environ.get("CONTENT_TYPE", ""):
        return None
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return urllib.parse.parse_qs(body.decode()).get("Action", [None])[0]


class Logged:
    """One line a request in a file, by line_of(environ); none where that is None."""

    def __init__(self, app, path, line_of):
        self.app, self.log, self.line_of = app, open(path, "a", buffering=1), line_of

    def __call__(self, environ, start_response):
        line = self.line_of(environ)
        if line is not None:
            self.log.write(line + "\n")
        return self.app(environ, start_response)


def request_line(environ):
    """METHOD PATH OPERATION."""
    return "%s %s %s" % (environ["REQUEST_METHOD"], environ["PATH_INFO"], operation(environ) or "-")


def application():
    return DomainDispatcherApplication(create_backend_app)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


def start(address, port, app):
    """Serves until the program ends."""
    server = make_server(address, port, app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
