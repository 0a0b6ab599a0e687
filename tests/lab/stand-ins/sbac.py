#!/usr/bin/env python3
"""What RDW asks of SBAC's other services and of its own, over HTTP on loopback: sign-on (OpenAM), permissions, import, and the
site itself. It keeps what it is told until it ends.

    sbac.py PORT LOG       LOG: a line for each request that changes something

    POST   /sso/oauth2/access_token                 a token for user and client, by grant_type=password
    GET, DELETE /sso/json/sbac/agents/NAME          an application that signs on; header iPlanetDirectoryPro
    GET, POST, DELETE /permissions/role             ?role=                           404 where it is not there
    POST, DELETE /permissions/entity                ?role=&entity=                   at which level a role is given
    GET, POST, DELETE /permissions/permission       ?component=&permission= (GET: ?role=&component=)
    POST, DELETE /permissions/mapping               ?component=&permission=&role=
    POST   /import/packages/imports                 a form with a file: 202, the same for the same file
    GET    /import/packages/imports/ID
    GET    /reporting/, /reporting/health           the site
    GET    /state                                   all that is kept
"""
import hashlib
import http.server
import json
import re
import sys
import urllib.parse

PORT, LOG = int(sys.argv[1]), sys.argv[2]
TOKEN, SESSION = "token-of-the-ingest-user", "Session-of-the-lab"
PASSWORDS = {"username": "rdw-ingest-opus@sbac.org", "password": "Sso-user-of-the-lab", "client_id": "rdw",
             "client_secret": "Sso-client-of-the-lab"}

agents = ["admin-webapp", "reporting-webapp"]
roles = {"GENERAL": ["STATE"]}
permissions = ["INDIVIDUAL_PII_READ"]
mappings = [["INDIVIDUAL_PII_READ", "GENERAL"]]
imports = []


def state():
    return {"agents": sorted(agents), "roles": {name: sorted(levels) for name, levels in roles.items()},
            "permissions": sorted(permissions), "mappings": sorted(mappings), "imports": [one["digest"] for one in imports]}


def success(value=None):
    return 200, {"status": "SUCCESS", "message": None, "value": value}


def missing(what):
    return 404, {"status": "FAILURE", "message": what + " is not found."}


def of_role(name):
    return {"role": name, "allowableEntities": [{"entity": level} for level in sorted(roles[name])]}


def token(request):
    given = {key: values[0] for key, values in urllib.parse.parse_qs(request.body.decode()).items()}
    if given.pop("grant_type", "") != "password" or any(given.get(key) != value for key, value in PASSWORDS.items()):
        return 400, {"error": "invalid_grant", "error_description": "The provided access grant is invalid"}
    return 200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 36000}


def agent(request, name):
    if request.headers.get("iPlanetDirectoryPro") != SESSION:
        return 401, {"code": 401, "reason": "Unauthorized", "message": "Access Denied"}
    if name not in agents:
        return 404, {"code": 404, "reason": "Not Found"}
    if request.command == "DELETE":
        agents.remove(name)
    return 200, {"username": name, "realm": "/sbac"}


def role(request):
    name = request.query.get("role")
    if request.command == "POST":
        roles.setdefault(name, [])
        return success(name)
    if name not in roles:
        return missing("Role:'%s'" % name)
    if request.command == "DELETE":
        del roles[name]
        return success(name)
    return success([of_role(name)])


def entity(request):
    levels, level = roles.get(request.query["role"]), request.query["entity"]
    if levels is None:
        return missing("Role")
    if request.command == "POST" and level not in levels:
        levels.append(level)
    elif request.command == "DELETE" and level in levels:
        levels.remove(level)
    return success(level)


def permission(request):
    if request.command == "GET":
        found = [name for name, of in mappings if request.query.get("role") in (None, of)]
        if "role" not in request.query:
            found = permissions
        return success([{"name": name} for name in found]) if found else missing("Permission")
    name = request.query["permission"]
    if request.command == "POST" and name not in permissions:
        permissions.append(name)
    elif request.command == "DELETE" and name in permissions:
        permissions.remove(name)
    return success(name)


def mapping(request):
    pair = [request.query["permission"], request.query["role"]]
    if request.command == "POST" and pair not in mappings:
        mappings.append(pair)
    elif request.command == "DELETE" and pair in mappings:
        mappings.remove(pair)
    return success(pair[0])


def new_import(request):
    if request.headers.get("Authorization") != "Bearer " + TOKEN:
        return 401, {"error": "unauthorized"}
    file = re.search(rb'filename="[^"]*".*?\r\n\r\n(.*)\r\n--', request.body, re.S)
    if not file:
        return 400, {"error": "no file"}
    digest = hashlib.md5(file.group(1)).hexdigest().upper()
    for one in imports:
        if one["digest"] == digest:
            return 202, one
    imports.append({"id": len(imports) + 1, "content": "PACKAGE", "digest": digest, "status": "ACCEPTED"})
    return 202, imports[-1]


def one_import(request, number):
    if int(number) > len(imports):
        return 404, {}
    one = imports[int(number) - 1]
    return 200, dict(one, status="PROCESSED")


ROUTES = [
    ("POST", r"/sso/oauth2/access_token", token), ("GET|DELETE", r"/sso/json/sbac/agents/([\w-]+)", agent),
    ("GET|POST|DELETE", r"/permissions/role", role), ("POST|DELETE", r"/permissions/entity", entity),
    ("GET|POST|DELETE", r"/permissions/permission", permission), ("POST|DELETE", r"/permissions/mapping", mapping),
    ("POST", r"/import/packages/imports", new_import), ("GET", r"/import/packages/imports/(\d+)", one_import),
    ("GET", r"/reporting/(?:health)?", lambda request: (200, {"status": "UP", "name": "RDW Reporting"})),
    ("GET", r"/state", lambda request: (200, state())),
]


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self):
        parts = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(parts.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command != "GET" and "access_token" not in self.path:
            with open(LOG, "a") as log:
                log.write("%s %s\n" % (self.command, self.path))
        status, answer = 404, {"error": "nothing is there"}
        for methods, pattern, fn in ROUTES:
            found = re.fullmatch(pattern, parts.path)
            if found and self.command in methods.split("|"):
                status, answer = fn(self, *found.groups())
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = respond

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Request).serve_forever()
