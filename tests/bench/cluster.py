"""Applying the manifests of a release to a cluster, beside kubectl. The control plane is that of tests/lab/kube."""
import os
import shutil
import subprocess
from pathlib import Path

from measure import Failed, Peer

HERE = Path(__file__).resolve().parent
KUBE = str(HERE.parent / "lab/kube")
MANIFESTS = HERE.parent / "lab/files/rdw/deploy"
NAMESPACE = "bench"
PROCEDURE = """-- The manifests of a release.
phase "Apply"
step "Apply the manifests" { run = function() k8s.apply("lab", "deploy") end }
"""


def kube(*argv):
    done = subprocess.run([KUBE, *argv], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout.strip()


class Cluster:
    """A control plane of its own, and a repository with one procedure for it."""

    def __init__(self, folder):
        os.environ["KUBE"] = f"bench-{os.getpid()}"
        self.folder = folder
        kube("up")
        self.config = kube("folder") + "/kubeconfig"
        shutil.copytree(MANIFESTS, folder / "deploy")
        environments = folder / "procedures/bench/environments"
        environments.mkdir(parents=True)
        (folder / "procedures/bench/apply.lua").write_text(PROCEDURE)
        (environments / "cluster.yml").write_text(
            f"clusters:\n  lab: {{ context: lab, kubeconfig: {self.config}, namespace: {NAMESPACE} }}\n")

    def peers(self, neap):
        manifests = sorted(str(path) for path in (self.folder / "deploy").iterdir())
        apply = f"kubectl -n {NAMESPACE} apply -f"
        kubectl = {"KUBECONFIG": self.config, "PATH": f"{kube('folder')}/bin:{os.environ['PATH']}"}
        return [Peer("neap run: dry run, apply, look again",
                     [neap, "run", "bench/apply", "--env", "cluster", "--foreground", "--yes", "--no-input"],
                     {"NEAP_PATH": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}),
                Peer("kubectl apply -f, one after the other",
                     ["sh", "-ec", "\n".join(f"{apply} {path}" for path in manifests)], kubectl, at_most=1),
                Peer("kubectl apply -f of the folder", ["sh", "-ec", f"{apply} {self.folder}/deploy"], kubectl)]

    def empty(self):
        kube("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found")
        kube("kubectl", "create", "namespace", NAMESPACE)

    def end(self):
        kube("down")
