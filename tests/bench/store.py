"""Objects to and from S3, beside curl and the tools of the field. The server is versitygw, which checks every signature."""
import os
import shutil
import subprocess
from pathlib import Path

from measure import Failed, Peer
from servers import answers, free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PROGRAM = CACHE / "neap-lab/bin/versitygw"
BUCKET = "bench"
SMALL, SMALL_BYTES = 500, 65536
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCH", "AWS_SECRET_ACCESS_KEY": "kept/by+the=bench", "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "NO_PROXY": "127.0.0.1"}
UP_SMALL = """-- Many small files.
step "Bring them up" { run = function() s3.sync("{folder}/small", "s3://bench/neap") end }
"""
DOWN_SMALL = """-- Many small objects.
step "Bring them down" { run = function() s3.sync("s3://bench/small", "{folder}/down") end }
"""
UP_LARGE = """-- A large file.
step "Bring it up" { run = function() s3.put("bench", "neap/large", { file = "{folder}/large" }) end }
"""
DOWN_LARGE = """-- A large object.
step "Bring it down" { run = function() s3.download("bench", "large", "local", "{folder}/down/large") end }
"""


class Store:
    """A server with one bucket, and a repository with procedures that bring things there and back."""

    def __init__(self, folder):
        if not PROGRAM.exists():
            raise Failed(f"{PROGRAM} is not there: sh vendor/versitygw.sh")
        self.folder, self.root = folder, folder / "root"
        (self.root / BUCKET).mkdir(parents=True)
        (folder / "down").mkdir()
        (folder / "rclone.conf").write_text("")
        os.environ.pop("AWS_CA_BUNDLE", None)  # rclone does not start where there is one
        self.start()
        self.write_repository()

    def start(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        argv = [PROGRAM, "--port", f"127.0.0.1:{port}", "--access", KEYS["AWS_ACCESS_KEY_ID"], "--secret",
                KEYS["AWS_SECRET_ACCESS_KEY"], "--region", KEYS["AWS_REGION"], "--quiet", "--keep-alive", "posix",
                self.root]
        with open(self.folder / "versitygw.log", "w") as log:
            self.server = subprocess.Popen(argv, stdout=log, stderr=log)
        if not answers(port, self.server):
            raise Failed(f"versitygw does not start: {(self.folder / 'versitygw.log').read_text()[-500:]}")

    def write_repository(self):
        environments = self.folder / "procedures/bench/environments"
        environments.mkdir(parents=True)
        (environments / "store.yml").write_text(
            f"aws:\n  region: {KEYS['AWS_REGION']}\n  endpoints: {{ s3: \"{self.url}\" }}\n")
        for name, text in (("up_small", UP_SMALL), ("down_small", DOWN_SMALL), ("up_large", UP_LARGE),
                           ("down_large", DOWN_LARGE)):
            path = self.folder / f"procedures/bench/{name}.lua"
            path.write_text(text.replace("{folder}", str(self.folder)))

    def make_small(self):
        for place in (self.folder / "small", self.root / BUCKET / "small"):
            place.mkdir()
            for number in range(SMALL):
                (place / f"f{number:03}").write_bytes(os.urandom(SMALL_BYTES))

    def make_large(self, size):
        argv = ["openssl", "enc", "-aes-128-ctr", "-pass", "pass:bench", "-nosalt", "-pbkdf2", "-in", "/dev/zero"]
        with open(self.folder / "large", "wb") as out, \
                subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source:
            for _ in range(0, size, 1 << 20):
                out.write(source.stdout.read(1 << 20))
            source.kill()
        shutil.copy(self.folder / "large", self.root / BUCKET / "large")

    def empty(self):
        """What the peers have brought goes."""
        for name in ("neap", "curl", "aws", "s5cmd", "rclone"):
            shutil.rmtree(self.root / BUCKET / name, ignore_errors=True)
        shutil.rmtree(self.folder / "down")
        (self.folder / "down").mkdir()

    def check_large(self):
        """Whether what was brought is as long as it should be; the tools' own checks are theirs."""
        brought = [*self.root.glob(f"{BUCKET}/*/large"), *(self.folder / "down").iterdir()]
        if not brought or any(path.stat().st_size != (self.folder / "large").stat().st_size for path in brought):
            raise Failed("the large file did not come whole")

    def neap(self, neap, name, procedure):
        return Peer(name, [neap, "run", f"bench/{procedure}", "--env", "store", "--foreground", "--yes", "--no-input"],
                    {"NEAP_PATH": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state"), **KEYS})

    def curl(self, *argv):
        return ["curl", "-sS", "-f", "--noproxy", "*", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--aws-sigv4",
                f"aws:amz:{KEYS['AWS_REGION']}:s3", "--user",
                f"{KEYS['AWS_ACCESS_KEY_ID']}:{KEYS['AWS_SECRET_ACCESS_KEY']}", *argv]

    def tools(self, find, argv, goals):
        """The other tools that are installed: by name their command lines, S3 and LOCAL in them put in."""
        known = {"rclone": (["rclone", "--config", str(self.folder / "rclone.conf"), "-q", "--transfers", "16"],
                            {"RCLONE_S3_PROVIDER": "Other", "RCLONE_S3_ENV_AUTH": "true",
                             "RCLONE_S3_ENDPOINT": self.url, "RCLONE_S3_FORCE_PATH_STYLE": "true"}),
                 "s5cmd": (["s5cmd", "--endpoint-url", self.url], {}),
                 "aws": (["aws", "--endpoint-url", self.url, "s3"], {})}
        peers = []
        for name, given in argv.items():
            if find(name):
                words, more = known[name]
                peers.append(Peer(name + " " + given[0], [find(name), *words[1:], *given], {**KEYS, **more},
                                  at_most=goals.get(name)))
        return peers

    def up_small(self, neap, find):
        config = self.folder / "up.curl"
        config.write_text("\n".join(f'upload-file = "{self.folder}/small/f{i:03}"\n'
                                    f'url = "{self.url}/{BUCKET}/curl/f{i:03}"\noutput = "/dev/null"'
                                    for i in range(SMALL)))
        small = f"{self.folder}/small"
        tools = {"rclone": ["copy", small, f":s3:{BUCKET}/rclone"], "s5cmd": ["cp", small + "/", f"s3://{BUCKET}/s5cmd/"],
                 "aws": ["cp", "--quiet", "--recursive", small, f"s3://{BUCKET}/aws/"]}
        return [self.neap(neap, "neap run: intent, upload, look again", "up_small"),
                Peer("curl -Z, 16 at a time, nothing looked at", self.curl("-Z", "--parallel-max", "16", "-K", str(config)),
                     at_most=1.2), *self.tools(find, tools, {"rclone": 0.7, "aws": 0.25})]

    def down_small(self, neap, find):
        small, down = f"s3://{BUCKET}/small", f"{self.folder}/down"
        tools = {"rclone": ["copy", f":s3:{BUCKET}/small", down], "s5cmd": ["cp", small + "/*", down + "/"],
                 "aws": ["cp", "--quiet", "--recursive", small, down]}
        argv = self.curl("-Z", "--parallel-max", "16", "-o", f"{down}/#1", f"{self.url}/{BUCKET}/small/f[000-499]")
        return [self.neap(neap, "neap run: list, intent, files made durable", "down_small"),
                Peer("curl -Z, 16 at a time", argv), *self.tools(find, tools, {})]

    def up_large(self, neap, find):
        large = f"{self.folder}/large"
        tools = {"s5cmd": ["cp", large, f"s3://{BUCKET}/s5cmd/large"],
                 "aws": ["cp", "--quiet", large, f"s3://{BUCKET}/aws/large"]}
        return [self.neap(neap, "neap run: SHA-256 of each part and the whole", "up_large"),
                Peer("curl, one request, unsigned body", self.curl("-T", large, f"{self.url}/{BUCKET}/curl/large")),
                *self.tools(find, tools, {"aws": 1})]

    def down_large(self, neap, find):
        large, down = f"s3://{BUCKET}/large", f"{self.folder}/down/large"
        tools = {"s5cmd": ["cp", large, down], "aws": ["cp", "--quiet", large, down]}
        return [self.neap(neap, "neap run: in one stream, SHA-256, made durable", "down_large"),
                Peer("curl", self.curl("-o", down, f"{self.url}/{BUCKET}/large")), *self.tools(find, tools, {"aws": 1})]

    def end(self):
        self.server.terminate()
        self.server.wait()
