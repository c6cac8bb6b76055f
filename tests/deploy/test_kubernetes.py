"""The manifests: valid by the published schemas, and whole; and their pods do what they are for, without Kubernetes."""

import base64
import functools
import os
import pathlib
import shutil
import tempfile

import kubernetes_validate
import yaml
from containers import TOP, run, until
from deployed import Deployed

MANIFESTS = TOP / "deploy/kubernetes"
NAMES = [f"redis-apikey-{n}.redis-apikey" for n in range(3)]


class Kubernetes(Deployed):
    def setUp(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="apikey-kubernetes-"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        self.secrets = folder / "secrets"
        run(str(TOP / "deploy/secrets"), str(self.secrets), *NAMES, "redis-apikey-sentinel")
        generated = folder / "generated.yaml"
        generated.write_text(run(str(MANIFESTS / "generate"), str(self.secrets)))
        self.files = [MANIFESTS / "redis-apikey.yaml", generated]
        self.objects = [one for file in self.files for one in yaml.safe_load_all(file.read_text()) if one]

    def object(self, kind, name="redis-apikey"):
        (found,) = [one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def pods(self):
        yield self.object("StatefulSet")["spec"]["template"]["spec"]
        yield self.object("Deployment", "redis-apikey-exporter")["spec"]["template"]["spec"]

    def test_each_is_valid_by_its_published_schema(self):
        of_operator = [one for one in self.objects if one["apiVersion"].startswith("monitoring.coreos.com/")]
        self.assertEqual([one["kind"] for one in of_operator], ["ServiceMonitor", "PrometheusRule"])
        for one in self.objects:
            if one not in of_operator:
                # Strict: a field that the schema does not have is an error.
                kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        script = TOP / "tests/deploy/custom_resources.mjs"
        valid = run("node", str(script), *map(str, self.files), cwd=os.environ["APIKEY_SCHEMAS"])
        self.assertEqual(valid.split(), ["ServiceMonitor", "PrometheusRule"])

        with self.assertRaisesRegex(kubernetes_validate.ValidationError, "imagee"):
            wrong = self.object("StatefulSet")
            wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = "redis-apikey"
            kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)

    def test_what_they_name_is_there(self):
        for pod in self.pods():
            for volume in pod["volumes"]:
                files = self.object("Secret", volume["secret"]["secretName"])["data"]
                self.assertEqual(base64.b64decode(files["ca.crt"]), (self.secrets / "nodes/ca.crt").read_bytes())
            for container in pod["containers"]:
                for source in container.get("envFrom", []):
                    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                        if key in source:
                            self.object(kind, source[key]["name"])
                self.environment(container, "pod")
        rules = self.object("PrometheusRule")["spec"]
        self.assertEqual(rules, yaml.safe_load((TOP / "deploy/monitoring/alerts.yml").read_text()))
        monitor = self.object("ServiceMonitor")["spec"]["selector"]["matchLabels"]
        service = self.object("Service", "redis-apikey-exporter")
        self.assertLessEqual(monitor.items(), service["metadata"]["labels"].items())

    def environment(self, container, pod):
        """As a container of this pod has it."""
        found = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.object("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                found |= self.object("Secret", source["secretRef"]["name"])["stringData"]
        for one in container["env"]:
            if "value" in one:
                found[one["name"]] = one["value"].replace("$(POD_NAME)", pod)
            elif "fieldRef" in one["valueFrom"]:
                found[one["name"]] = pod
            else:
                source = one["valueFrom"].get("secretKeyRef") or one["valueFrom"]["configMapKeyRef"]
                kind = "Secret" if "secretKeyRef" in one["valueFrom"] else "ConfigMap"
                told = self.object(kind, source["name"])
                found[one["name"]] = (told.get("stringData") or told["data"])[source["key"]]
        return found

    def test_pods_find_each_other_and_one_takes_the_place_of_another(self):
        """The containers of the pods, with their arguments, environment and probes, but for Kubernetes itself."""
        services, probes = {}, {}
        servers, exporter = self.pods()
        for name in NAMES:
            pod = name.split(".")[0]
            for container in servers["containers"]:
                is_first = container["name"] == "redis"
                service = name if is_first else f"{pod}-sentinel"
                services[service] = {
                    "image": container["image"],
                    "hostname": pod,
                    "command": container["args"],
                    "environment": self.environment(container, pod),
                    "volumes": [f"{pod}:/data", f"{self.secrets}/nodes:/etc/redis/secrets"],
                } | ({} if is_first else {"network_mode": f"service:{name}"})
                probes[service] = container
        (container,) = exporter["containers"]
        services["exporter"] = {
            "image": container["image"],
            "command": container["args"],
            "environment": self.environment(container, "exporter"),
            "volumes": [f"{self.secrets}/client:/etc/redis/secrets"],
        }
        deployment = self.compose(services)
        # Services' names lead to pods of theirs.
        hosts = deployment.network.hosts
        first = deployment.network.addresses[NAMES[1]]
        hosts.write_text(hosts.read_text() + f"{first} redis-apikey-sentinel\n")
        for service in deployment.services.values():
            service.start()
        for name, container in probes.items():
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    command = container[probe]["exec"]["command"]
                    passes = functools.partial(deployment[name].run, *command)
                    until(f"{probe} of {name}", lambda passes=passes: passes() is not None)

        def roles():
            told = deployment["exporter"].run("apikeyctl", "nodes", may_end=(0, 1, 2))
            lines = [line.split() for line in told.splitlines()]
            return {line[0]: line[1] for line in lines if line and line[0].endswith(":6379")}

        whole = {f"{name}:6379": "primary" if name == NAMES[0] else "replica" for name in NAMES}
        until("all are known", lambda: roles() == whole)
        self.replicas_are_known([name for name in probes if name.endswith("-sentinel")], 2)
        deployment[NAMES[0]].kill()
        until("another is promoted", lambda: sorted(roles().values()) == ["primary", "replica"], 120)
        deployment[NAMES[0]].start()
        until("it is back as a replica", lambda: roles().get(f"{NAMES[0]}:6379") == "replica")
        scraped = run("ip", "netns", "exec", "exporter", "curl", "-sf", "http://127.0.0.1:9121/metrics")
        self.assertEqual(scraped.count("apikey_up{"), 3)
