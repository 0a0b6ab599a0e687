#!/usr/bin/env python3
"""What botocore makes of the same: a line of JSON for each case, for the tests of the AWS client to compare with.

oracle.py requests SEED COUNT NAME…     requests of its serializers for generated parameters; NAME is service.Operation,
                                        and COUNT more are drawn from all services
oracle.py replies SEED COUNT NAME…      replies made up from the shapes, and what its parsers read in them
oracle.py errors SEED COUNT             refusals
oracle.py endpoints SEED COUNT           hosts, and what requests are signed for
oracle.py signatures                    requests, and how its signers sign them
"""
import base64
import datetime
import json
import random
import sys
from xml.etree import ElementTree

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.regions
import botocore.serialize
from urllib.parse import urlsplit

TEXTS = ["a", "plain", "with space", "a+b=c&d", "ünï", "50% ~(1)*'!", "x/y", "<tag attr=\"v\">&amp;", "日本", "0"]
HOST = "https://example.org"
WHEN = datetime.datetime(2026, 11, 26, 12, 30, 45)


def put(value):
    print(json.dumps(value, ensure_ascii=False, sort_keys=True))


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else bytes(data)).decode()


# ---- models ----

# Superseded long ago: one name stands for a text and for a list of them.
LEFT_OUT = ["GetBucketNotification", "PutBucketNotification"]

# Without the parameters that only make botocore send further requests.
LOADER = botocore.loaders.Loader(include_default_extras=False)
KNOWN = {}


def service_of(name):
    if name not in KNOWN:
        KNOWN[name] = botocore.model.ServiceModel(LOADER.load_service_model(name, "service-2"), name)
    return KNOWN[name]


def drawn(rng, names, count):
    """The named operations, and others: as many of each protocol as there are, of services drawn first."""
    for name in names:
        yield name.split(".")
    by_protocol, services = {}, LOADER.list_available_services("service-2")
    for name in services:
        protocol = service_of(name).metadata["protocol"] if rng.random() < 0.06 or name in ("s3", "ec2") else None
        if protocol:
            by_protocol.setdefault(protocol, []).append(name)
    for index in range(count):
        protocol = sorted(by_protocol)[index % len(by_protocol)]
        name = rng.choice(by_protocol[protocol])
        yield name, rng.choice([one for one in service_of(name).operation_names if one not in LEFT_OUT])


# ---- parameters and results by their shapes ----

class Maker:
    """Values by shapes. of_reply: as a parser gives them back, else as a caller gives them."""

    def __init__(self, rng, of_reply):
        self.rng, self.of_reply = rng, of_reply

    def text(self, shape):
        if getattr(shape, "enum", None):
            return self.rng.choice(shape.enum)
        return self.rng.choice(TEXTS)

    def make(self, shape, depth=0):
        return getattr(self, "make_" + shape.type_name, self.make_string)(shape, depth)

    def make_structure(self, shape, depth):
        if getattr(shape, "is_document_type", False):
            return {"a": [1, "b", {"c": True}]}
        members = sorted(shape.members)
        if getattr(shape, "is_tagged_union", False):
            members = [self.rng.choice(members)]
        value = {}
        for name in members:
            member = shape.members[name]
            needed = name in shape.required_members or len(members) == 1
            if member.serialization.get("eventstream") or member.serialization.get("eventheader"):
                continue
            if needed or (depth < 4 and self.rng.random() < (0.6 if depth < 2 else 0.35)):
                if depth < 8 or member.type_name not in ("structure", "list", "map"):
                    value[name] = self.place(member, depth + 1)
        return value

    def place(self, member, depth):
        where = member.serialization.get("location")
        if member.serialization.get("hostLabel"):
            return "label1"
        if where in ("header", "headers") and member.type_name in ("string", "map", "list") and not json_value(member):
            return self.in_header(member)
        if where == "uri" and member.type_name == "string":
            return self.rng.choice([t for t in TEXTS if t != "."])
        return self.make(member, depth)

    def in_header(self, member):
        plain = lambda: self.rng.choice(["a", "b c", "d/e"])
        if member.type_name == "map":
            return {"one": plain(), "two": plain()}
        if member.type_name == "list":
            return [plain(), plain()] if member.member.type_name == "string" else [self.make(member.member, 9)]
        return self.rng.choice(member.enum) if getattr(member, "enum", None) else plain()

    def make_list(self, shape, depth):
        return [self.make(shape.member, depth + 1) for _ in range(self.rng.choice([1, 1, 2, 3]))]

    def make_map(self, shape, depth):
        keys = sorted({self.text(shape.key) for _ in range(self.rng.choice([1, 2]))})
        return {key: self.make(shape.value, depth + 1) for key in keys}

    def make_string(self, shape, _):
        return self.text(shape)

    def make_blob(self, *_):
        return self.rng.choice(TEXTS)

    def make_boolean(self, *_):
        return self.rng.random() < 0.5

    def make_integer(self, *_):
        return self.rng.choice([0, 1, 42, 2147483647])

    def make_long(self, *_):
        return self.rng.choice([0, 7, 9007199254740993])

    def make_float(self, *_):
        return self.rng.choice([0.5, 1.25, 0.1, 3.0])

    make_double = make_float

    def make_timestamp(self, *_):
        return self.rng.choice([0, 1543198800, 1732624245])


def json_value(shape):
    return shape.serialization.get("jsonvalue") and shape.serialization.get("location") == "header"


def native(shape, value):
    """A value as botocore takes it: blobs are bytes."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {k: native(shape.members[k], v) for k, v in value.items()}
    if shape.type_name == "list":
        return [native(shape.member, v) for v in value]
    if shape.type_name == "map":
        return {k: native(shape.value, v) for k, v in value.items()}
    return value.encode() if shape.type_name == "blob" else value


# ---- requests ----

def header(value):
    """As it is sent; later releases of botocore write true where this one writes Python's True."""
    return {"True": "true", "False": "false"}.get(value, value if isinstance(value, str) else value.decode())



def requests(seed, count, names):
    rng = random.Random(seed)
    for service, name in drawn(rng, names, count):
        operation = service_of(service).operation_model(name)
        shape = operation.input_shape
        parameters = Maker(rng, False).make(shape) if shape else {}
        protocol = service_of(service).metadata["protocol"]
        serializer = botocore.serialize.create_serializer(protocol, False)
        made = serializer.serialize_to_request(native(shape, parameters) if shape else {}, operation)
        botocore.awsrequest.prepare_request_dict(made, HOST)
        whole = botocore.awsrequest.create_request_object(made).prepare()
        url = urlsplit(whole.url)
        body = whole.body or b""
        put({"service": service, "operation": name, "protocol": protocol, "parameters": parameters,
             "method": whole.method, "host": url.netloc, "path": url.path,
             "query": url.query.split("&") if url.query else [],
             "headers": {k.lower(): header(v) for k, v in made["headers"].items()},
             "body": b64(body)})


# ---- replies ----

def wire_time(shape, value, default):
    how = (shape.serialization.get("timestampFormat") or default).lower()
    when = datetime.datetime.utcfromtimestamp(value)
    if how == "unixtimestamp":
        return value
    if how == "rfc822":
        return when.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def scalar(shape, value, default_time):
    if shape.type_name == "timestamp":
        return str(wire_time(shape, value, default_time))
    if shape.type_name == "blob":
        return b64(value)
    if shape.type_name == "boolean":
        return "true" if value else "false"
    return str(value)


def as_json(shape, value):
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {m.serialization.get("name", k): as_json(m, value[k]) for k, m in shape.members.items()
                if k in value and "location" not in m.serialization}
    if shape.type_name == "list":
        return [as_json(shape.member, v) for v in value]
    if shape.type_name == "map":
        return {k: as_json(shape.value, v) for k, v in value.items()}
    if shape.type_name == "timestamp":
        return wire_time(shape, value, "unixtimestamp")
    return b64(value) if shape.type_name == "blob" else value


def as_xml(parent, shape, value, name):
    kind, flat = shape.type_name, shape.serialization.get("flattened")
    if kind == "structure":
        node = ElementTree.SubElement(parent, name)
        fill(node, shape, value)
    elif kind == "list":
        inner = shape.member.serialization.get("name")
        node = parent if flat else ElementTree.SubElement(parent, name)
        for item in value:
            as_xml(node, shape.member, item, (inner or name) if flat else inner or "member")
    elif kind == "map":
        node = parent if flat else ElementTree.SubElement(parent, name)
        for key, item in value.items():
            entry = ElementTree.SubElement(node, name if flat else "entry")
            as_xml(entry, shape.key, key, shape.key.serialization.get("name", "key"))
            as_xml(entry, shape.value, item, shape.value.serialization.get("name", "value"))
    else:
        ElementTree.SubElement(parent, name).text = scalar(shape, value, "iso8601")


def fill(node, shape, value):
    for name, member in shape.members.items():
        if name not in value or "location" in member.serialization:
            continue
        if member.serialization.get("xmlAttribute"):
            prefix, _, local = member.serialization["name"].partition(":")
            node.set("{http://www.w3.org/2001/XMLSchema-instance}" + local if local else prefix, value[name])
        else:
            as_xml(node, member, value[name], member.serialization.get("name", name))


def document(root):
    ElementTree.register_namespace("xsi", "http://www.w3.org/2001/XMLSchema-instance")
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)


def query_body(operation, shape, value):
    root = ElementTree.Element(operation.name + "Response", xmlns="http://example.org/doc/")
    wrapper = shape.serialization.get("resultWrapper")
    fill(ElementTree.SubElement(root, wrapper) if wrapper else root, shape, value)
    meta = ElementTree.SubElement(root, "ResponseMetadata")
    ElementTree.SubElement(meta, "RequestId").text = "r-1"
    return document(root)


def rest_headers(shape, value):
    headers = {}
    for name, member in shape.members.items():
        where, key = member.serialization.get("location"), member.serialization.get("name", name)
        if name in value and where == "headers":
            headers.update({key + k: v for k, v in value[name].items()})
        elif name in value and where == "header":
            one = value[name]
            if json_value(member):
                headers[key] = b64(json.dumps(one))
            elif member.type_name == "list":
                headers[key] = ",".join(scalar(member.member, v, "rfc822") for v in one)
            else:
                headers[key] = scalar(member, one, "rfc822")
    return headers


def rest_body(protocol, operation, shape, value):
    payload = shape.serialization.get("payload")
    member = shape.members[payload] if payload else shape
    if payload and payload not in value:
        return None
    if payload and member.type_name in ("string", "blob"):
        return value[payload].encode()
    inner = value[payload] if payload else value
    if protocol == "rest-json":
        return json.dumps(as_json(member, inner)).encode()
    name = member.serialization.get("name") or operation.name + "Result"
    root = ElementTree.Element(name, xmlns="http://example.org/")
    fill(root, member, inner)
    return document(root)


def body_of(protocol, operation, shape, value):
    if protocol == "json":
        return json.dumps(as_json(shape, value)).encode()
    return query_body(operation, shape, value) if protocol == "query" else rest_body(protocol, operation, shape, value)


def shown(value):
    """What a parser gave, as plain data: times as text in UTC, bytes as base64 behind a mark."""
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items() if k != "ResponseMetadata"}
    if isinstance(value, list):
        return [shown(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.decode() if isinstance(value, bytes) else value


def replies(seed, count, names):
    rng = random.Random(seed)
    for service, name in drawn(rng, names, count):
        operation = service_of(service).operation_model(name)
        shape, protocol = operation.output_shape, service_of(service).metadata["protocol"]
        if shape is None or operation.has_event_stream_output:
            continue
        value = Maker(rng, True).make(shape)
        if protocol == "ec2":
            root = ElementTree.Element(name + "Response", xmlns="http://example.org/doc/")
            fill(root, shape, value)
            body = document(root)
        else:
            body = body_of(protocol, operation, shape, value)
        if body is None:
            continue
        headers = rest_headers(shape, value) if protocol.startswith("rest") else {}
        headers = {k: v.encode("latin-1", "replace").decode("latin-1") for k, v in headers.items()}
        reply = {"status_code": 200, "headers": botocore.awsrequest.HeadersDict(headers), "body": body, "context": {}}
        result = botocore.parsers.create_parser(protocol).parse(reply, shape)
        put({"service": service, "operation": name, "protocol": protocol, "status": 200, "body": b64(body),
             "headers": {k.lower(): v for k, v in headers.items()}, "result": shown(result)})


# ---- refusals ----

ERRORS = {
    "query": '<ErrorResponse xmlns="http://example.org/"><Error><Type>Sender</Type><Code>{code}</Code>'
             "<Message>{text}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>",
    "ec2": "<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>"
           "<RequestID>r-1</RequestID></Response>",
    "s3": '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message>'
          "<RequestId>r-1</RequestId><HostId>h</HostId></Error>",
}
SERVICES = ["iam", "sts", "ec2", "s3", "route53", "cloudfront", "dynamodb", "kms", "lambda", "eks", "sns", "rds"]
CODES = ["NoSuchEntity", "AccessDenied", "ThrottlingException", "InvalidParameterValue", "ResourceNotFoundException"]


def error_reply(rng, service, protocol, code, text):
    headers = {"x-amzn-requestid": "r-1"}
    if protocol == "json":
        kind = rng.choice(["", "com.amazonaws.service#"]) + code
        return json.dumps({"__type": kind, rng.choice(["message", "Message"]): text}).encode(), headers
    if protocol == "rest-json":
        headers["x-amzn-errortype"] = code + rng.choice(["", ":http://internal.example.org/"])
        return json.dumps({"message": text}).encode(), headers
    form = ERRORS["s3" if service == "s3" else protocol if protocol == "ec2" else "query"]
    return form.format(code=code, text=text).encode(), {} if service != "s3" else {"x-amz-request-id": "r-1"}


def errors(seed, count):
    rng = random.Random(seed)
    for index in range(count):
        service = SERVICES[index % len(SERVICES)]
        protocol, code = service_of(service).metadata["protocol"], rng.choice(CODES)
        status, text = rng.choice([400, 403, 404, 409, 500, 503]), rng.choice(["no such thing", "ünï 'x'", "a b c"])
        body, headers = error_reply(rng, service, protocol, code, text)
        reply = {"status_code": status, "headers": botocore.awsrequest.HeadersDict(headers), "body": body}
        result = botocore.parsers.create_parser(protocol).parse(reply, None)
        put({"service": service, "status": status, "headers": headers, "body": b64(body),
             "code": result["Error"]["Code"], "message": result["Error"]["Message"],
             "request": result["ResponseMetadata"].get("RequestId")})


# ---- signatures ----

class Frozen(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return cls(2026, 11, 26, 12, 30, 45)

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 26, 12, 30, 45, tzinfo=tz)


KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PATHS = ["/", "/a b", "/a+b", "/ünï/日本", "/a//b", "/a/../b", "/./a/", "/50%25", "/~x/(1)*'!", "/a=b&c", "/a:b@c,d;e",
         "/arn:aws:lambda:us-west-2:1:function:f/x"]
QUERIES = [[], [["a", ""]], [["b", "2"], ["a", "1"], ["a", "0"]], [["a", "x y"], ["a", "x+y"], ["ä", "=&/"]],
           [["list-type", "2"], ["prefix", "a b/+"], ["delimiter", "/"]],
           [["a-b", "1"], ["a", "2"], ["aB", "3"], ["a.b", "4"]]]
HEADERS = [{}, {"X-Amz-Meta-Note": "  two   words  ", "Content-Type": "text/plain"},
           {"x-amz-acl": "private", "Expect": "100-continue"}]


def signatures():
    botocore.auth.datetime.datetime = Frozen
    index = 0
    for service in ["s3", "iam", "ec2", "dynamodb", "lambda", "route53"]:
        for path in PATHS:
            for query in QUERIES:
                index += 1
                token = "FwoGZXIvYXdzEXAMPLE//token+=" if index % 2 else None
                headers, body = dict(HEADERS[index % 3]), ["", "a=b", "\x00\xff"][index % 3]
                put(signed(service, path, query, headers, body, token))
                if service == "s3":
                    put(presigned(path, query, token, 60 + index))


def encoded(path, query):
    from urllib.parse import quote
    pairs = "&".join(quote(k, safe="-_.~") + "=" + quote(v, safe="-_.~") for k, v in query)
    return quote(path, safe="/~"), pairs


def signed(service, path, query, headers, body, token):
    where, pairs = encoded(path, query)
    method = "POST" if body else "GET"
    request = botocore.awsrequest.AWSRequest(method, HOST + where + ("?" + pairs if pairs else ""),
                                             data=body.encode("latin-1"), headers=headers)
    signer = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    signer(botocore.credentials.Credentials(*KEY, token), service, "us-west-2").add_auth(request)
    return {"service": service, "method": method, "path": where, "query": query, "headers": headers,
            **({"token": token} if token else {}),
            "body": b64(body.encode("latin-1")), "authorization": request.headers["Authorization"]}


def presigned(path, query, token, seconds):
    query = [list(pair) for pair in dict(query).items()]  # its signer of URLs forgets all but one of a name
    where, pairs = encoded(path, query)
    request = botocore.awsrequest.AWSRequest("GET", HOST + where + ("?" + pairs if pairs else ""))
    signer = botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(*KEY, token), "s3", "us-west-2", seconds)
    signer.add_auth(request)
    return {"service": "s3", "path": where, "query": query, "seconds": seconds, **({"token": token} if token else {}),
            "presigned": sorted(urlsplit(request.prepare().url).query.split("&"))}


# ---- endpoints ----

REGIONS = ["us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1", "eu-north-9"]


def endpoints(seed, count):
    rng = random.Random(seed)
    resolver = botocore.regions.EndpointResolver(LOADER.load_data("endpoints"))
    services = ["s3", "iam", "sts", "route53", "cloudfront", "ec2", "dynamodb", "redshift"]
    services += rng.sample(LOADER.list_available_services("service-2"), count)
    for service in services:
        metadata = service_of(service).metadata
        for region in REGIONS:
            found = resolver.construct_endpoint(metadata["endpointPrefix"], region)
            if not found:
                continue
            scope = found.get("credentialScope", {})
            put({"service": service, "region": region, "host": found["hostname"],
                 "signs": scope.get("service", metadata.get("signingName", metadata["endpointPrefix"])),
                 "signed_region": scope.get("region", region)})


if __name__ == "__main__":
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "signatures":
        signatures()
    elif what in ("errors", "endpoints"):
        {"errors": errors, "endpoints": endpoints}[what](int(rest[0]), int(rest[1]))
    else:
        {"requests": requests, "replies": replies}[what](int(rest[0]), int(rest[1]), rest[2:])
