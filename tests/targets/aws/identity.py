#!/usr/bin/env python3
"""Who gives credentials of AWS: STS, single sign-on, a container, a machine's metadata. Prints its port.

/log: a line for each request                     /life/N: what is given lives N seconds
/v1: from now on the metadata service is of version 1
STS says of whoever asks that the account is 123456789012 and the role deploy.
"""
import datetime
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

state = {"log": [], "tokens": True, "life": 3600, "count": 0}
ROLE = "/latest/meta-data/iam/security-credentials/"
XML = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>
<AccessKeyId>{1}</AccessKeyId><SecretAccessKey>{2}</SecretAccessKey><SessionToken>{3}</SessionToken>
<Expiration>{4}</Expiration></Credentials></{0}Result></{0}Response>"""

CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:sts::123456789012:assumed-role/deploy/neap</Arn><UserId>AROA:neap</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


def ends():
    when = datetime.datetime.utcnow() + datetime.timedelta(seconds=state["life"])
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def made(name):
    state["count"] += 1
    return "ASIA-%s-%d" % (name, state["count"]), "secret+of/" + name, "token/of+" + name


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, text, status=200):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def as_json(self, name):
        key, secret, token = made(name)
        self.reply(json.dumps({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": ends()}))

    def by(self):
        match = re.search(r"Credential=([^/]+)", self.headers.get("Authorization", ""))
        return match.group(1) if match else "nobody"

    def sts(self, fields):
        action = fields["Action"][0]
        said = {k: v[0] for k, v in sorted(fields.items()) if k not in ("Action", "Version", "RoleSessionName")}
        state["log"].append("%s by %s %s" % (action, self.by(), json.dumps(said)))
        if action == "GetCallerIdentity":
            return self.reply(CALLER)
        if fields.get("TokenCode", ["123456"]) != ["123456"]:
            return self.reply("<ErrorResponse><Error><Code>AccessDenied</Code><Message>MultiFactorAuthentication failed"
                              "</Message></Error><RequestId>r</RequestId></ErrorResponse>", 403)
        return self.reply(XML.format(action, *made(said["RoleArn"].split("/")[-1]), ends()))

    def sso(self, query):
        bearer = self.headers.get("x-amz-sso_bearer_token")
        state["log"].append("sso %s %s" % (bearer, json.dumps(query, sort_keys=True)))
        key, secret, token = made("sso")
        self.reply(json.dumps({"roleCredentials": {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token,
                               "expiration": 4102444800000}}))

    def metadata(self, path):
        token = self.headers.get("X-aws-ec2-metadata-token")
        state["log"].append("metadata %s %s" % (self.command, path))
        if path == "/latest/api/token":
            life = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            return self.reply("the-token" if state["tokens"] and life else "", 200 if state["tokens"] and life else 405)
        if token != "the-token" and state["tokens"]:
            return self.reply("", 401)
        return self.reply("worker\n") if path == ROLE else self.as_json("machine")

    def any(self):
        url = urlparse(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if url.path == "/log":
            return self.reply("\n".join(state["log"]))
        if url.path == "/v1":
            state["tokens"] = False
            return self.reply("")
        if url.path.startswith("/life/"):
            state["life"] = int(url.path[6:])
            return self.reply("")
        if url.path.startswith("/latest/"):
            return self.metadata(url.path)
        if url.path == "/federation/credentials":
            return self.sso({k: v[0] for k, v in parse_qs(url.query).items()})
        if url.path == "/container":
            state["log"].append("container " + self.headers.get("Authorization", "without"))
            return self.as_json("container")
        return self.sts(parse_qs(body))

    do_GET = do_PUT = do_POST = any


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
