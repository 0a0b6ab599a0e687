#!/usr/bin/env python3
"""A name server for tests: answers over UDP and TCP on one port, which it prints. The first label of a name says how:

a, aaaa, cname, mx, ns, soa, srv, ptr, txt: a record of that type   many: 3 addresses      big: 200, over TCP alone
alias: a CNAME and the A of its target      none: a name without records  nx: no such name   fail: SERVFAIL
refused: REFUSED    silent: nothing         loop: a name that points at itself   short: a record longer than the answer
garbage: bytes that mean nothing            count: how many questions came       flood: 4000 records, over TCP
"""
import socket
import struct
import sys
import threading

NUMBERS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
asked = [0]


def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def record(owner, kind, data, ttl=300):
    return owner + struct.pack(">HHIH", NUMBERS[kind], 1, ttl, len(data)) + data


HERE = b"\xc0\x0c"
RECORDS = {
    "a": [record(HERE, "A", bytes([10, 0, 0, 1]), 5)],
    "aaaa": [record(HERE, "AAAA", bytes(15) + b"\1")],
    "cname": [record(HERE, "CNAME", name("Proxy2.Example.org"), 60)],
    "mx": [record(HERE, "MX", struct.pack(">H", 10) + name("mail.example.org")),
           record(HERE, "MX", struct.pack(">H", 20) + b"\x05other" + HERE)],
    "ns": [record(HERE, "NS", name("ns1.example.org"))],
    "soa": [record(HERE, "SOA", name("ns1.example.org") + name("root.example.org") + struct.pack(
        ">IIIII", 4000000000, 3600, 600, 86400, 60))],
    "srv": [record(HERE, "SRV", struct.pack(">HHH", 1, 2, 5432) + name("db.example.org"))],
    "ptr": [record(HERE, "PTR", name("host.example.org"))],
    "txt": [record(HERE, "TXT", b"\x05v=abc\x04 def"), record(HERE, "TXT", b"\x01\xff")],
    "many": [record(HERE, "A", bytes([10, 0, 0, i])) for i in (1, 2, 3)],
    "big": [record(HERE, "A", bytes([10, 0, 1, i])) for i in range(200)],
    "flood": [record(HERE, "A", bytes([10, 0, i // 256, i % 256])) for i in range(4000)],
    "alias": [record(HERE, "CNAME", name("target.example.org")),
              record(name("target.example.org"), "A", bytes([10, 0, 0, 9]))],
    "loop": [b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 1, 2) + b"\xff\xff"],
    "short": [HERE + struct.pack(">HHIH", 1, 1, 1, 400) + b"\1"],
    "odd": [HERE + struct.pack(">HHIH", 1, 1, 1, 3) + b"\1\2\3"],
    "text": [record(HERE, "TXT", b"\xffshort")],
}
CODES = {"nx": 3, "fail": 2, "refused": 5}


def answer(question, tcp):
    asked[0] += 1
    end = 12
    labels = []
    while question[end]:
        labels.append(question[end + 1:end + 1 + question[end]].decode().lower())
        end += question[end] + 1
    end += 5
    what = labels[0]
    if what == "silent":
        return None
    if what == "garbage":
        return question[:2] + b"\x81\x80" + b"\xff" * 40
    records = RECORDS.get(what, [])
    if what == "count":
        records = [record(HERE, "TXT", b"%c%d" % (len(str(asked[0])), asked[0]))]
    truncated = not tcp and what in ("big", "flood")
    if truncated:
        records = []
    flags = 0x8180 | (0x0200 if truncated else 0) | CODES.get(what, 0)
    head = question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    return head + question[12:end] + b"".join(records)


def serve_udp(sock):
    while True:
        question, peer = sock.recvfrom(4096)
        reply = answer(question, False)
        if reply:
            sock.sendto(reply, peer)


def read(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise OSError
        data += more
    return data


def serve_one(connection):
    try:
        while True:
            size = struct.unpack(">H", read(connection, 2))[0]
            reply = answer(read(connection, size), True)
            if reply:
                connection.sendall(struct.pack(">H", len(reply)) + reply)
    except OSError:
        connection.close()


def main():
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    tcp.listen(16)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", tcp.getsockname()[1]))
    print(tcp.getsockname()[1], flush=True)
    threading.Thread(target=serve_udp, args=(udp,), daemon=True).start()
    while True:
        connection, _ = tcp.accept()
        threading.Thread(target=serve_one, args=(connection,), daemon=True).start()


sys.exit(main())
