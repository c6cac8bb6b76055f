"""The image and its two compose files: what they describe is started, used, failed over, and stopped.

deploy/test gives it the image.
"""

import json
import pathlib
import re
import shutil
import tempfile
import unittest
import urllib.parse

import yaml
from containers import TOP, Image, resolved, run, until
from deployed import Deployed

COMPOSE = TOP / "deploy/docker"
# A record whose key's secret is "secret".
KEY = "apikey:{ak_1}"
RECORD = '{"id":"1","user_id":"u","is_active":true}'
STORE = ["APIKEY.SETVAL", KEY, RECORD, "SECRET", "secret", "EX", "1000"]
VERIFY = ["APIKEY.VALIDATE", KEY, "SECRET", "secret"]


class Development(Deployed):
    def test_one_server_starts_answers_and_stops(self):
        redis = self.compose(resolved(COMPOSE / "compose.yml"))["redis"]
        redis.start()
        until("it is healthy", redis.healthy)

        def cli(*words):
            return redis.run("redis-cli", "-e", *words).split()

        # The image's configuration, and what the environment adds.
        self.assertEqual(cli("CONFIG", "GET", "maxmemory-policy")[1], "volatile-ttl")
        self.assertEqual(cli("CONFIG", "GET", "apikey.digest-field")[1], "key_hash")
        self.assertEqual(redis.run("id", "-u").strip(), "999")
        cli("APIKEY.USAGE.INCR", f"{KEY}:usage", "BY", "7")
        self.assertEqual(redis.stop(), 0)

        # Its data is still there, and other settings hold at once.
        redis.settings["environment"] = {"APIKEY_VALIDATION_TTL": "60", "APIKEY_MAX_ABSENT": "-1"}
        redis.settings["command"] += ["--maxmemory", "100mb"]
        redis.start()
        until("it is healthy again", redis.healthy)
        self.assertEqual(cli("APIKEY.USAGE.GET", f"{KEY}:usage")[:2], ["pending", "7"])
        self.assertEqual(cli("CONFIG", "GET", "apikey.validation-ttl")[1], "60")
        self.assertEqual(cli("CONFIG", "GET", "maxmemory")[1], str(100 << 20))
        redis.kill()

        redis.settings["environment"] = {"APIKEY_NO_SETTING": "1"}
        redis.start()
        self.assertNotEqual(redis.ended(20), 0)
        # That is all that the server says of a setting that there is not.
        self.assertIn("Module Configuration detected", redis.log.read_text())

    def test_what_lacks_its_data_or_its_module_is_not_healthy(self):
        redis = self.compose(resolved(COMPOSE / "compose.yml"))["redis"]
        redis.settings["command"] = ["redis-server", "--protected-mode", "no"]
        redis.start()
        until("it answers", lambda: "PONG" in redis.run("redis-cli", "PING"))
        with self.assertRaisesRegex(AssertionError, "APIKEY.HEALTH"):
            redis.healthy()


class Watched(unittest.TestCase):
    """What Grafana is given, which is not here."""

    def test_grafana_is_given_prometheus_and_the_dashboard(self):
        copy = pathlib.Path(tempfile.mkdtemp(prefix="apikey-grafana-"))
        self.addCleanup(shutil.rmtree, copy)
        shutil.copytree(TOP / "deploy", copy / "deploy", ignore=shutil.ignore_patterns("secrets/*"))
        run(str(TOP / "deploy/secrets"), str(copy / "deploy/docker/secrets"), "redis-1")
        services = resolved(copy / "deploy/docker/compose.prod.yml")
        (mount,) = services["grafana"]["volumes"]
        source, target, mode = mount.split(":")
        provisioning = pathlib.Path(source)
        self.assertEqual((target, mode), ("/etc/grafana/provisioning", "ro"))

        (found,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
        self.assertEqual(services["grafana"]["network_mode"], services["prometheus"]["network_mode"])
        self.assertEqual(found["url"], "http://127.0.0.1:9090")
        self.assertIn("127.0.0.1:9090:9090/tcp", services["exporter"]["ports"])
        scraped = yaml.safe_load((copy / "deploy/monitoring/prometheus.yml").read_text())["global"]["scrape_interval"]
        self.assertEqual(found["jsonData"]["timeInterval"], scraped)

        (files,) = yaml.safe_load((provisioning / "dashboards/files.yml").read_text())["providers"]
        folder = provisioning / pathlib.PurePath(files["options"]["path"]).relative_to(target)
        told = (TOP / "docs/monitoring.md").read_text()
        (made,) = re.findall(r"dashboard\.py > (deploy/\S+)", told)
        self.assertEqual((copy / made).resolve().parent, folder.resolve())
        self.assertIn(f"/{made}\n", (TOP / ".gitignore").read_text())


class Production(Deployed):
    def cli(self, service, *words, user="application"):
        password = (self.secrets / "passwords" / user).read_text().strip()
        tls = self.deployment["redis-1"].environment()["REDIS_CLI_ARGS"].replace("monitoring", user)
        return service.run("redis-cli", "-e", *tls.split(), *words, REDISCLI_AUTH=password).split()

    def ctl(self, *words, user="monitoring"):
        password = (self.secrets / "passwords" / user).read_text().strip()
        exporter = self.deployment["exporter"]
        who = {"APIKEYCTL_USER": user, "REDISCLI_AUTH": password}
        # Where something is wrong, or a node away, it tells of the others all the same.
        return json.loads(exporter.run("apikeyctl", *words, "--json", may_end=(0, 1, 2), **who))

    def is_written(self, service):
        """Redis does not end while it writes the first AOF behind a full resync."""
        told = self.cli(service, "INFO", "persistence", user="monitoring")
        return {"aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"} <= set(told)

    def roles(self):
        return {node["address"]: node["role"] for node in self.ctl("nodes")["nodes"]}

    def query(self, query):
        """What Prometheus says: a value for each node."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={urllib.parse.quote(query)}"
        told = json.loads(run("ip", "netns", "exec", "exporter", "curl", "-sf", url))
        return {one["metric"].get("node"): float(one["value"][1]) for one in told["data"]["result"]}

    def test_a_primary_is_lost_and_comes_back(self):
        # The compose file wants them beside it; it is run from a copy of deploy/.
        copy = pathlib.Path(tempfile.mkdtemp(prefix="apikey-deploy-"))
        self.addCleanup(shutil.rmtree, copy)
        copy.chmod(0o755)
        shutil.copytree(TOP / "deploy", copy / "deploy", ignore=shutil.ignore_patterns("secrets/*"))
        self.secrets = copy / "deploy/docker/secrets"
        servers = ["redis-1", "redis-2", "redis-3"]
        sentinels = ["sentinel-1", "sentinel-2", "sentinel-3"]
        make = [str(TOP / "deploy/secrets"), str(self.secrets), *servers, *sentinels]
        run(*make)
        prometheus = Image(
            "/",
            ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp"],
            ["--web.listen-address=127.0.0.1:9090"],
            ["NONE"],
            "/",
        )
        services = resolved(copy / "deploy/docker/compose.prod.yml")
        # It has a profile, so that it is not started by itself.
        self.assertEqual(services.pop("grafana")["profiles"], ["grafana"])
        deployment = self.compose(services, {"prom/prometheus:v3.5.0": prometheus})
        # Faster than every 15 s, and its data in the /tmp that it has.
        rules = copy / "deploy/monitoring/prometheus.yml"
        rules.write_text(rules.read_text().replace("15s", "2s"))
        deployment["prometheus"].settings["volumes"].pop()
        for service in deployment.services.values():
            service.start()
        for name in servers + sentinels:
            until(f"{name} is healthy", deployment[name].healthy)
        whole = {"redis-1:6379": "primary", "redis-2:6379": "replica", "redis-3:6379": "replica"}
        until("all are known", lambda: self.roles() == whole)
        self.replicas_are_known(sentinels, 2)

        first = deployment["redis-1"]
        self.assertEqual(self.cli(first, *STORE), ["OK"])
        self.cli(first, "APIKEY.USAGE.INCR", f"{KEY}:usage", "BY", "7")
        self.assertEqual(self.cli(first, "WAIT", "2", "5000"), ["2"])
        self.assertEqual(self.cli(first, *VERIFY)[0], "VALID")
        with self.assertRaisesRegex(AssertionError, "NOPERM"):
            self.cli(first, "FLUSHALL")
        with self.assertRaisesRegex(AssertionError, "NOAUTH"):
            first.run("redis-cli", *first.environment()["REDIS_CLI_ARGS"].split()[:7], "-e", "PING")
        told = self.ctl("doctor", "--read-only", "--role", "operator", user="operator")
        wrong = [found for found in told["findings"] if found["severity"] == "wrong"]
        self.assertEqual(wrong, [])
        self.assertEqual(told["nodes"], 3)
        up = until("Prometheus has seen them", lambda: len(self.query("apikey_up == 1")) == 3)
        self.assertTrue(up)

        # The primary is lost.
        first.kill()
        primary = until("another is promoted", lambda: self.promoted("redis-1:6379"), 120)
        now = deployment[primary]
        until("it may vouch", lambda: self.cli(now, *VERIFY)[0] == "VALID")
        self.assertEqual(self.cli(now, "APIKEY.USAGE.GET", f"{KEY}:usage")[:2], ["pending", "7"])
        self.assertEqual(self.cli(now, "APIKEY.INVAL", KEY), ["1"])
        until("Prometheus has seen it", lambda: self.query("apikey_up").get("redis-1:6379") == 0)
        role = 'apikey_node_info{role="primary"}'
        until("and who is primary", lambda: list(self.query(role)) == [f"{primary}:6379"])

        # And comes back: as a replica, without the key that was revoked meanwhile.
        first.start()
        until("it is a replica", lambda: self.roles().get("redis-1:6379") == "replica")
        until("it is healthy", first.healthy)
        until("it has what became of it", lambda: self.cli(first, *VERIFY)[0] == "MISS")

        # A network that is split: the primary, alone, says VALID of nothing, and yields.
        self.assertEqual(self.cli(now, *STORE), ["OK"])
        self.deployment.network.unplug(primary)
        until("alone, it vouches for nothing", lambda: self.cli(now, *VERIFY)[0] == "MISS")
        other = until("another is promoted", lambda: self.promoted(f"{primary}:6379"), 120)
        self.deployment.network.unplug(primary, False)
        until("it yields", lambda: self.roles().get(f"{primary}:6379") == "replica")
        self.assertNotEqual(other, primary)

        # Each starts again by the configuration that Sentinels have had it rewrite.
        for name in servers:
            until(f"{name} has its AOF", lambda service=deployment[name]: self.is_written(service))
            self.assertEqual(deployment[name].stop(), 0)
            deployment[name].start()
            until(f"{name} is healthy again", deployment[name].healthy)
            until("one is primary", lambda: sorted(self.roles().values()) == ["primary", "replica", "replica"])

        # A new certificate, for which nobody stops.
        before = self.serials(servers)
        started = [deployment[name].pid for name in servers]
        run(*make)
        hosts = deployment.network.hosts
        where = ["ip", "netns", "exec", "exporter", "bwrap", "--dev-bind", "/", "/"]
        where += ["--ro-bind", str(hosts), "/etc/hosts", "--die-with-parent"]
        told = run(*where, str(TOP / "deploy/rotate"), str(self.secrets), *servers)
        self.assertEqual(told.count("has the new certificate"), 3)
        after = self.serials(servers)
        self.assertTrue(len(before) == len(after) == 1 and before != after, (before, after))
        self.assertEqual(started, [deployment[name].pid for name in servers])
        until("all is well", lambda: sorted(self.roles().values()) == ["primary", "replica", "replica"])

        for service in deployment.services.values():
            self.assertEqual(service.stop(), 0, service.name)

    def promoted(self, gone):
        """Who is primary, where that is another."""
        roles = self.roles()
        return next((node.split(":")[0] for node, role in roles.items() if role == "primary" and node != gone), None)

    def serials(self, names):
        """What certificates servers show."""
        show = "openssl s_client -connect {}:6379 -showcerts </dev/null 2>/dev/null | openssl x509 -noout -serial"
        network = self.deployment.network
        return {
            run("ip", "netns", "exec", "exporter", "sh", "-c", show.format(network.addresses[name])) for name in names
        }


if __name__ == "__main__":
    unittest.main(verbosity=2)
