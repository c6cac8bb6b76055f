"""A cluster of containers, made by deploy/cluster."""

import json
import pathlib
import shutil
import tempfile

from containers import TOP, run, until
from deployed import Deployed

NAMES = [f"node-{n}" for n in range(6)]
SECRETS = "/etc/redis/secrets"
TLS = f"--tls --cacert {SECRETS}/ca.crt --cert {SECRETS}/node.crt --key {SECRETS}/node.key"


class Cluster(Deployed):
    def test_a_cluster_is_made_and_told_as_a_whole(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="apikey-cluster-"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        secrets = folder / "secrets"
        run(str(TOP / "deploy/secrets"), str(secrets), *NAMES)
        of = "/etc/redis-apikey"
        services = {
            name: {
                "image": "redis-apikey",
                "environment": {
                    "REDIS_INCLUDE": f"{of}/secured.conf {of}/clustered.conf {SECRETS}/secrets.conf",
                    "REDIS_CLI_ARGS": f"{TLS} --user monitoring",
                    "REDISCLI_AUTH": (secrets / "passwords/monitoring").read_text().strip(),
                },
                "volumes": [f"{name}:/data", f"{secrets}/nodes:{SECRETS}:ro"],
            }
            for name in NAMES
        }
        deployment = self.compose(services)
        for service in deployment.services.values():
            service.start()
        where = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(deployment.network.hosts), "/etc/hosts"]
        run(*where, str(TOP / "deploy/cluster"), str(secrets), *NAMES)
        first = deployment[NAMES[0]]

        password = (secrets / "passwords/administrator").read_text().strip()

        def cli(name, *words):
            options = [*TLS.split(), "--user", "administrator", "-e", "-c"]
            return deployment[name].run("redis-cli", *options, *words, REDISCLI_AUTH=password).split()

        def ctl(*words):
            connection = ["--url", f"rediss://{NAMES[0]}", "--cluster", "--user", "administrator", "--json"]
            connection += ["--cacert", f"{SECRETS}/ca.crt", "--cert", f"{SECRETS}/node.crt"]
            connection += ["--cert-key", f"{SECRETS}/node.key"]
            return json.loads(first.run("apikeyctl", *words, *connection, may_end=(0, 1, 2), REDISCLI_AUTH=password))

        def whole():
            roles = [node["role"] for node in ctl("nodes")["nodes"]]
            return sorted(roles) == ["primary"] * 3 + ["replica"] * 3

        until("all have found each other", whole)
        for name in NAMES:
            until(f"{name} is healthy", deployment[name].healthy)
        # By names, which is what certificates have.
        self.assertEqual(sorted(node["address"] for node in ctl("nodes")["nodes"]), [f"{name}:6379" for name in NAMES])
        until(
            "nothing is wrong",
            lambda: not [found for found in ctl("doctor")["findings"] if found["severity"] == "wrong"],
        )
        for n in range(20):
            record = json.dumps({"id": str(n), "user_id": "u", "is_active": True})
            self.assertEqual(cli(NAMES[n % 6], "APIKEY.SETVAL", f"apikey:{{{n}}}", record), ["OK"])
        self.assertEqual(cli(NAMES[1], "APIKEY.TAGINVAL", "apikey:user:u"), ["20"])
        self.assertEqual(cli(NAMES[2], "APIKEY.VALIDATE", "apikey:{3}")[0], "MISS")
