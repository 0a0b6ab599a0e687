"""Scripts of SQL, beside psql and the mysql client. The servers are on sockets of their own, and keep what they commit."""
import os
import shutil
import subprocess
import time
from pathlib import Path

from measure import Failed, Peer, run_once

STATEMENTS, ROWS = 2000, 5
CELLS = (("pg", "PostgreSQL"), ("my", "MariaDB"))
WAYS = (("each", "each statement commits"), ("one", "one transaction"))
PROCEDURE = """-- A script of inserts.
step "Carry it out" {
  irreversible = "it is a benchmark",
  run = function() sql.script(env.databases.{database}, "{way}.sql"{options}) end,
}
"""
LONG = """-- A script that lies on this machine, of any length.
step "Carry it out" {
  irreversible = "it is a benchmark",
  run = function() sql.script(env.databases.{database}, "{folder}/long.sql", { transaction = true }) end,
}
"""
ENVIRONMENT = """databases:
  pg: { postgres: {folder}/pg, database: bench, user: bench }
  my: { mysql: {folder}/my/socket, database: bench, user: bench }
policy: { point_of_no_return: pass }
"""


def run(argv, **more):
    done = subprocess.run([str(word) for word in argv], check=False, capture_output=True, text=True, cwd="/", **more)
    if done.returncode != 0:
        raise Failed(f"{argv[0]}: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout


def as_user(name, argv):
    """Both servers refuse to be root's."""
    if os.getuid() != 0:
        return argv
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", *argv]


def script(path, statements):
    with open(path, "w") as text:
        for i in range(statements):
            rows = ",".join(f"({i * ROWS + j},'some text {i} {j}',{i * j})" for j in range(ROWS))
            text.write(f"insert into w values {rows};\n")


class Databases:
    """Both servers with a table w each, and a repository with a procedure for each cell."""

    def __init__(self, folder):
        self.folder, self.children = folder, []
        self.programs = max(Path("/usr/lib/postgresql").glob("*"), key=lambda path: int(path.name)) / "bin"
        folder.chmod(0o755)
        try:
            self.start_postgres()
            self.start_mariadb()
        except BaseException:
            self.end()
            raise
        self.write_repository()

    def place(self, name, user):
        place = self.folder / name
        place.mkdir()
        if os.getuid() == 0:
            shutil.chown(place, user)
        return place

    def launch(self, argv, log, ready):
        with open(log, "w") as out:
            self.children.append(subprocess.Popen([str(word) for word in argv], stdout=out, stderr=out, cwd="/"))
        for _ in range(600):
            if subprocess.run(ready, check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise Failed(f"{argv[-1]}: the server does not start: {log.read_text()[-500:]}")

    def start_postgres(self):
        place = self.place("pg", "postgres")
        run(as_user("postgres", [self.programs / "initdb", "-D", place / "data", "-U", "bench", "-A", "trust"]))
        argv = [self.programs / "postgres", "-D", place / "data", "-k", place, "-c", "listen_addresses="]
        self.launch(as_user("postgres", argv), self.folder / "pg.log", self.psql("postgres", "-c", "select 1"))
        run(self.psql("postgres", "-c", "create database bench"))

    def start_mariadb(self):
        place = self.place("my", "mysql")
        user = ["--user=mysql"] if os.getuid() == 0 else []
        run(["mariadb-install-db", "--no-defaults", f"--datadir={place}/data", "--skip-test-db",
             "--auth-root-authentication-method=normal", *user])
        self.launch(["mariadbd", "--no-defaults", f"--datadir={place}/data", f"--socket={place}/socket",
                     "--skip-networking", f"--pid-file={place}/pid", *user], self.folder / "my.log",
                    self.mysql("root", "-e", "select 1"))
        run(self.mysql("root", "-e", "create database bench; create user bench; grant all on *.* to bench"))

    def psql(self, database, *more):
        return ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder / "pg"), "-U", "bench", "-d", database,
                *more]

    def mysql(self, user, *more):
        return ["mysql", "--no-defaults", f"--socket={self.folder}/my/socket", "-u", user, *more]

    def write_repository(self):
        place = self.folder / "procedures/bench"
        (place / "environments").mkdir(parents=True)
        (place / "environments/databases.yml").write_text(ENVIRONMENT.replace("{folder}", str(self.folder)))
        for way, options in (("each", ""), ("one", ", { transaction = true }")):
            script(place / f"{way}.sql", STATEMENTS)
            for database, _ in CELLS:
                (place / f"{database}_long.lua").write_text(
                    LONG.replace("{database}", database).replace("{folder}", str(self.folder)))
                (place / f"{database}_{way}.lua").write_text(
                    PROCEDURE.replace("{database}", database).replace("{way}", way).replace("{options}", options))
        text = (place / "one.sql").read_text()
        (self.folder / "whole.sql").write_text("begin;\n" + text + "commit;\n")
        shutil.copy(place / "each.sql", self.folder / "each.sql")

    def neap(self, neap, name, procedure):
        argv = [neap, "run", f"bench/{procedure}", "--env", "databases", "--foreground", "--yes", "--no-input"]
        return Peer(name, argv, {"NEAP_PATH": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")})

    def memory(self, neap, database, statements, log):
        """Bytes that a script of so many statements takes at most."""
        script(self.folder / "long.sql", statements)
        self.empty()
        return run_once(self.neap(neap, "long", f"{database}_long"), log, 1).most

    def peers(self, neap, database, way):
        """neap's run from its start to its end, and the stock client's."""
        name = "neap run: a mark with each statement" if way == "each" else "neap run: one mark"
        ours = self.neap(neap, name, f"{database}_{way}")
        path = self.folder / ("whole.sql" if way == "one" else "each.sql")
        if database == "pg":
            bare = Peer("psql -f, without Debian's wrapper", [str(self.programs / "psql"),
                                                                *self.psql("bench", "-f", str(path))[1:]])
            return [ours, Peer("psql -f", self.psql("bench", "-f", str(path)), at_most=1), bare]
        mysql = " ".join(self.mysql("bench", "bench"))
        return [ours, Peer("mysql < script", ["sh", "-c", f"exec {mysql} < {path}"], at_most=1)]

    def empty(self):
        drop, create = "drop table if exists w", "create table w (id int, a varchar(40), b int)"
        run(self.psql("bench", "-c", "set client_min_messages = error", "-c", drop, "-c", create))
        run(self.mysql("bench", "bench", "-e", f"{drop}; {create}"))

    def count(self, database):
        argv = (self.psql("bench", "-Atc", "select count(*) from w") if database == "pg"
                else self.mysql("bench", "bench", "-Ne", "select count(*) from w"))
        return int(run(argv))

    def check(self, database):
        if self.count(database) != STATEMENTS * ROWS:
            raise Failed(f"the script left {self.count(database)} rows")

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()
