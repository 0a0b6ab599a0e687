#!/usr/bin/env python3
"""A server of mail for tests: mail_server.py FOLDER [OPTION…]. Prints its port, and leaves each message that it took as
a file in FOLDER: the envelope as JSON in the first line, then what was sent.

--tls CERTIFICATE KEY: offers STARTTLS    --smtps: begins with TLS     --auth USER PASSWORD: takes mail of that user alone
--refuse ADDRESS: knows no such recipient --full: 552 to the message   --later: 451 to the message
--cut PLACE: hangs up at hello, rcpt, data (asked for the message), half (in the middle of it), end (took it, says
nothing), lost (all of it came, it is not taken, nothing is said)
--silent PLACE: the same places, but waits    --quiet-quit: never answers QUIT    --chatter: replies without end
--port PORT: else the system chooses one
"""
import base64
import json
import socketserver
import ssl
import sys
import threading
import time

argv = sys.argv[1:]
folder = argv[0]


def option(name, count=1):
    if name not in argv:
        return None
    at = argv.index(name)
    return argv[at + 1:at + 1 + count]


cut = (option("--cut") or [None])[0]
silent = (option("--silent") or [None])[0]
tls, auth, refuse = option("--tls", 2), option("--auth", 2), option("--refuse")
lock, taken = threading.Lock(), [0]


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*tls)
    return made


class HangUp(Exception):
    pass


class Handler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def at(self, place):
        if cut == place:
            raise HangUp
        if silent == place:
            time.sleep(30)
            raise HangUp

    def handle(self):
        self.secure, self.user, self.sender, self.to = "--smtps" in argv, None, None, []
        try:
            self.at("hello")
            self.say("220 mail.example.org ESMTP")
            while True:
                line = self.rfile.readline(4096)
                if not line or not self.command(line.decode("latin-1").rstrip("\r\n")):
                    return
        except (HangUp, OSError):
            pass

    def command(self, line):
        word = line.split(" ")[0].upper()
        if "--chatter" in argv and word == "MAIL":
            while True:
                self.say("250-" + "x" * 400)
        if word == "EHLO":
            self.hello()
        elif word == "STARTTLS" and tls:
            self.say("220 go on")
            self.connection = context().wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            self.secure = True
        elif word == "AUTH":
            self.login(line)
        elif word == "MAIL":
            if auth and not self.user:
                self.say("530 who are you")
            else:
                self.sender = line
                self.say("250 ok")
        elif word == "RCPT":
            self.at("rcpt")
            if refuse and "<" + refuse[0] + ">" in line:
                self.say("550 no such user here")
            else:
                self.to.append(line[line.index("<") + 1:line.index(">")])
                self.say("250 ok")
        elif word == "DATA":
            self.at("data")
            self.say("354 go on")
            return self.message()
        elif word == "QUIT":
            if "--quiet-quit" in argv:
                time.sleep(10)
            self.say("221 bye")
            return False
        else:
            self.say("250 ok")
        return True

    def hello(self):
        offers = ["mail.example.org", "8BITMIME"]
        if tls and not self.secure:
            offers.append("STARTTLS")
        if auth:
            offers.append("AUTH PLAIN LOGIN")
        for i, offer in enumerate(offers):
            self.say("250%s%s" % ("-" if i + 1 < len(offers) else " ", offer))

    def login(self, line):
        words = line.split(" ")
        if len(words) < 3:
            self.say("334 ")
            words.append(self.rfile.readline(4096).decode().strip())
        given = base64.b64decode(words[2]).decode().split("\0")
        if words[1].upper() == "PLAIN" and auth and given[1:] == auth:
            self.user = given[1]
            self.say("235 welcome")
        else:
            self.say("535 no")

    def message(self):
        lines = []
        while True:
            line = self.rfile.readline(4096)
            if not line:
                return False
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
            if len(lines) == 3:
                self.at("half")
        self.at("lost")
        if "--full" in argv:
            self.say("552 the box is full")
            return True
        if "--later" in argv:
            self.say("451 later")
            return True
        self.keep(b"".join(lines))
        self.at("end")
        self.say("250 taken")
        return True

    def keep(self, text):
        with lock:
            taken[0] += 1
            envelope = {"from": self.sender, "to": self.to, "user": self.user, "secure": self.secure}
            with open("%s/%d" % (folder, taken[0]), "wb") as file:
                file.write(json.dumps(envelope).encode() + b"\n" + text)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        pass

    def get_request(self):
        connection, address = super().get_request()
        if "--smtps" in argv:
            connection = context().wrap_socket(connection, server_side=True)
        return connection, address


def main():
    server = Server(("127.0.0.1", int((option("--port") or [0])[0])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
