#!/usr/bin/env python3
"""A name server that answers what Route 53 (moto) says, some seconds later, as the world's name servers do.

route53_dns.py ENDPOINT ADDRESS:PORT SECONDS [SUFFIX=ADDRESS…]: names that end in SUFFIX (elb.amazonaws.com) have that
address; what they stand for is not in Route 53. Runs in moto's Python (vendor/moto.sh); a program can import it, too,
and call start.
"""
import ipaddress
import socket
import struct
import sys
import threading
import time

import boto3

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28}
EVERY = 0.2  # seconds between two looks


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"


def plain(name):
    return name.lower().rstrip(".")


def data_of(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind == "TXT":
        text = value.strip('"').encode()
        return bytes([len(text)]) + text
    if kind == "MX":
        preference, host = value.split()
        return struct.pack(">H", int(preference)) + labels(host)
    return labels(value)


class World:
    """What Route 53 said at which time; the newest that is old enough is what is answered."""

    def __init__(self, endpoint, seconds, addresses):
        self.client = boto3.client("route53", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="dns",
                                   aws_secret_access_key="dns")
        self.seconds, self.addresses, self.seen = seconds, addresses, [(0, self.look())]

    def look(self):
        found = {}
        for zone in self.client.list_hosted_zones()["HostedZones"]:
            for record in self.client.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
                found[plain(record["Name"]), record["Type"]] = record
        return found

    def watch(self):
        while True:
            time.sleep(EVERY)
            try:
                now = self.look()
            except Exception:  # it is being emptied, or ends
                continue
            if now != self.seen[-1][1]:
                self.seen = self.seen[-50:] + [(time.monotonic(), now)]

    def records(self):
        old_enough = time.monotonic() - self.seconds
        return [found for at, found in self.seen if at <= old_enough or at == 0][-1]

    def address(self, name):
        return [address for suffix, address in self.addresses.items() if name.endswith(suffix)]

    def answers(self, name, kind):
        """(owner, type, ttl, value): of an alias the address that it leads to; of a CNAME also what it leads to."""
        records, list = self.records(), []
        record = records.get((name, kind)) or records.get((name, "CNAME"))
        if not record:
            return [(name, "A", 5, address) for address in self.address(name)] if kind == "A" else []
        if "AliasTarget" in record:
            return [(name, "A", 5, address) for address in self.address(plain(record["AliasTarget"]["DNSName"]))]
        for one in record["ResourceRecords"]:
            list.append((name, record["Type"], record["TTL"], one["Value"]))
        if record["Type"] == "CNAME" and kind != "CNAME":
            list += self.answers(plain(list[0][3]), kind)
        return list

    def knows(self, name):
        return bool(self.address(name)) or any(key[0] == name for key in self.records())

    def reply(self, question):
        end, parts = 12, []
        while question[end]:
            parts.append(question[end + 1:end + 1 + question[end]].decode().lower())
            end += question[end] + 1
        number = struct.unpack(">H", question[end + 1:end + 3])[0]
        name, kind = ".".join(parts), {value: key for key, value in TYPES.items()}.get(number, "?")
        found = self.answers(name, kind)
        code = 0 if found or self.knows(name) else 3
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0) + question[12:end + 5]
        for owner, type, ttl, value in found:
            packed = data_of(type, value)
            head += labels(owner) + struct.pack(">HHIH", TYPES[type], 1, ttl, len(packed)) + packed
        return head


def serve(world, sock):
    while True:
        question, peer = sock.recvfrom(4096)
        sock.sendto(world.reply(question), peer)


def start(endpoint, address, port, seconds, addresses):
    """Serves until the program ends."""
    world = World(endpoint, seconds, addresses)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    threads = [threading.Thread(target=world.watch, daemon=True),
               threading.Thread(target=serve, args=(world, sock), daemon=True)]
    for thread in threads:
        thread.start()
    return threads


if __name__ == "__main__":
    place, port = sys.argv[2].rsplit(":", 1)
    start(sys.argv[1], place, int(port), float(sys.argv[3]), dict(word.split("=") for word in sys.argv[4:]))[1].join()
