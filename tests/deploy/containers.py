"""Runs the services of a compose file without Docker, from the image's files and the file's own settings.

Each service has its own network, host name, processes and /data, as in a container, by `ip netns` and bubblewrap, and
can write nothing else. What a service is given stands in the compose file and in the image, and nowhere here.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
BRIDGE = "10.99.0.1"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Redis' user in the image, and what it runs with.
USER = ["setpriv", "--reuid=999", "--regid=999", "--clear-groups", "--no-new-privs"]


def run(*command, may_end=(0,), cwd=None):
    """What a command prints; it fails with what it said, where it ends otherwise than it may."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    if done.returncode not in may_end:
        raise AssertionError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def until(what, condition, seconds=60):
    """Waits for what `condition` returns, or says why it did not come."""
    end = time.monotonic() + seconds
    told = None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (AssertionError, OSError, ValueError) as error:
            told = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}: {told}")


@dataclasses.dataclass(frozen=True)
class Image:
    """A root file system and what is run in it, as `buildah inspect` tells."""

    root: str
    entrypoint: list
    command: list
    healthcheck: list
    folder: str


def resolved(compose):
    """The services of the file as docker-compose reads it, with anchors, env_file and defaults; or its error."""
    return yaml.safe_load(run("docker-compose", "--file", str(compose), "config"))["services"]


class Service:
    """A container of a service. Its data outlives it."""

    def __init__(self, name, settings, image, folder, network):
        self.name, self.settings, self.image, self.network = name, settings, image, network
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.process = self.status = self.pid = None

    def environment(self):
        return {"PATH": PATH, "HOME": "/data"} | (self.settings.get("environment") or {})

    def _volumes(self):
        for volume in self.settings.get("volumes", []):
            source, target, *_ = volume.split(":")
            # bubblewrap would make it for root alone.
            os.makedirs(self.image.root + target, exist_ok=True)
            if source.startswith("/"):
                yield from ["--ro-bind", source, target]
            else:
                data = self.folder / source
                if not data.exists():
                    data.mkdir()
                    os.chown(data, 999, 999)
                yield from ["--bind", str(data), target]

    def start(self):
        words = [*self.image.entrypoint, *(self.settings.get("command") or self.image.command)]
        environment = [word for pair in self.environment().items() for word in ("--setenv", *pair)]
        reading, writing = os.pipe()
        command = [
            *("ip", "netns", "exec", self.network.of(self.settings, self.name)),
            *("bwrap", "--die-with-parent", "--unshare-pid", "--as-pid-1", "--unshare-uts", "--unshare-ipc"),
            *("--hostname", self.settings.get("hostname", self.name), "--json-status-fd", str(writing)),
            *("--ro-bind", self.image.root, "/", "--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--tmpfs", "/tmp"),
            *("--ro-bind", str(self.network.hosts), "/etc/hosts", *self._volumes()),
            *("--clearenv", *environment, "--chdir", self.settings.get("working_dir", self.image.folder)),
            *(*USER, *words),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writing]
            )
        os.close(writing)
        # Kept open: bubblewrap writes into it when the process ends.
        self.status = os.fdopen(reading)
        self.pid = json.loads(self.status.readline())["child-pid"]

    def signal(self, number):
        os.kill(self.pid, number)

    def ended(self, seconds):
        """The exit status of what stops by itself."""
        status = self.process.wait(seconds)
        self.status.close()
        return status

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.ended(60)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.ended(10)

    def run(self, *command, may_end=(0,), **more):
        """Runs a command in it, as `docker compose exec` does, with `more` in its environment."""
        environment = self.environment() | more
        words = [f"{name}={value}" for name, value in environment.items()]
        where = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--uts", "--root", "--wd"]
        return run(*where, *USER, "env", "--ignore-environment", *words, *command, may_end=may_end)

    def healthy(self):
        """Its health check, or the image's, says nothing against it."""
        check = (self.settings.get("healthcheck") or {}).get("test") or self.image.healthcheck
        assert check[0] == "CMD", check
        self.run(*check[1:])
        return True


class Network:
    """A bridge, and for each service a network of its own that is plugged into it."""

    def __init__(self, names, folder):
        self.hosts = folder / "hosts"
        self.addresses = {name: f"10.99.0.{place + 2}" for place, name in enumerate(names)}
        lines = [f"{address} {name}" for name, address in self.addresses.items()]
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{BRIDGE}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        for place, (name, address) in enumerate(self.addresses.items()):
            own = ("ip", "-netns", name)
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"port{place}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"port{place}", "master", "bridge", "up")
            run(*own, "address", "add", f"{address}/24", "dev", "eth0")
            run(*own, "link", "set", "eth0", "up")
            run(*own, "link", "set", "lo", "up")

    def clear(self):
        for name in self.addresses:
            run("ip", "netns", "delete", name)
        run("ip", "link", "delete", "bridge")

    def of(self, settings, name):
        return settings.get("network_mode", name).removeprefix("service:")

    def unplug(self, name, is_out=True):
        """Takes a service's cable away, or puts it back."""
        place = list(self.addresses).index(name)
        run("ip", "link", "set", f"port{place}", "down" if is_out else "up")


class Deployment:
    """What a compose file describes, on this machine. `of_others` says what is run of images that are not ours."""

    def __init__(self, services, image, folder, of_others=None):
        own = [name for name, settings in services.items() if "network_mode" not in settings]
        self.network = Network(own, folder)
        self.services = {
            name: Service(name, settings, (of_others or {}).get(settings["image"], image), folder, self.network)
            for name, settings in services.items()
        }

    def __getitem__(self, name):
        return self.services[name]

    def clear(self):
        """Ends what runs, keeps what it logged in `told`, and gives the names of the network back."""
        told = []
        for name, service in self.services.items():
            if service.process and service.process.poll() is None:
                service.kill()
            if service.log.exists():
                told.append(f"--- {name}\n{service.log.read_text(errors='replace')[-3000:]}")
        self.told = "\n".join(told)
        self.network.clear()
