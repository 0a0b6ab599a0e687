"""sshds of their own on loopback, with keys and configuration in a folder, for one run of the benchmark."""
import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

SSHD = "/usr/sbin/sshd"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path], check=True)
    return path


def answers(port, child):
    for _ in range(500):
        if child.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.01)
    return False


class Servers:
    """Hosts h1, h2, … for the person who runs this; `config` is what ssh needs to know of them."""

    def __init__(self, folder, count):
        self.folder, self.children, self.hosts = Path(folder), [], {}
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.key = make_key(self.folder / "login")
        shutil.copy(self.folder / "login.pub", self.folder / "authorized_keys")
        self.known_hosts = self.folder / "known_hosts"
        self.config = self.folder / "ssh_config"
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        try:
            for number in range(1, count + 1):
                self.start(f"h{number}")
        except BaseException:
            self.stop()
            raise
        self.write_config()
        self.write_wrapper()

    def start(self, name):
        for _ in range(5):  # somebody else may take the port that was free
            port = free_port()
            host_key = self.folder / f"host_{name}_{port}"
            make_key(host_key)
            config = self.folder / f"sshd_{name}"
            # SHLVL: bash would read the person's .bashrc for each command, which says nothing of any tool
            config.write_text("\n".join([
                f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {host_key}", "PidFile none", "StrictModes no",
                "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
                "PrintMotd no", "SetEnv SHLVL=2",
                f"AuthorizedKeysFile {self.folder}/authorized_keys",
                "Subsystem sftp /usr/lib/openssh/sftp-server", ""]))
            child = subprocess.Popen([SSHD, "-D", "-f", config, "-E", self.folder / f"{name}.log"])
            self.children.append(child)
            if answers(port, child):
                self.hosts[name] = port
                with open(self.known_hosts, "a") as lines:
                    lines.write(f"[127.0.0.1]:{port} {' '.join(Path(f'{host_key}.pub').read_text().split()[:2])}\n")
                return
        raise RuntimeError(f"sshd does not start: {(self.folder / f'{name}.log').read_text()}")

    def write_config(self):
        lines = []
        for name, port in self.hosts.items():
            lines += [f"Host {name}", "  HostName 127.0.0.1", f"  Port {port}"]
        lines += ["Host *", f"  User {self.user}", f"  IdentityFile {self.key}", "  IdentitiesOnly yes",
                  "  IdentityAgent none", f"  UserKnownHostsFile {self.known_hosts}",
                  "  StrictHostKeyChecking yes", "  BatchMode yes", ""]
        self.config.write_text("\n".join(lines))

    def write_wrapper(self):
        """neap asks the person's own `ssh -G`: here one that knows these hosts. It costs neap a shell's start."""
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        wrapper = self.bin / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        wrapper.chmod(0o755)

    def stop(self):
        for child in self.children:
            child.terminate()
            child.wait()
