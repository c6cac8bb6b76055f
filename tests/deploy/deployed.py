"""What tests of deployments have in common: the image that deploy/test has built, and services that end with a test."""

import functools
import json
import os
import pathlib
import shutil
import tempfile
import unittest

from containers import Deployment, Image, until


def image():
    """Ours, as it was built."""
    told = json.loads(pathlib.Path(os.environ["APIKEY_IMAGE"]).read_text())
    docker = told["Docker"]["config"]
    root = os.environ["APIKEY_IMAGE_ROOT"]
    check = docker["Healthcheck"]["Test"]
    return Image(root, docker["Entrypoint"], docker.get("Cmd") or [], check, docker["WorkingDir"])


class Deployed(unittest.TestCase):
    """A test with a deployment, of which it tells what its services logged where it fails."""

    def compose(self, services, of_others=None):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="apikey-compose-"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        self.deployment = Deployment(services, image(), folder, of_others)
        self.addCleanup(self.deployment.clear)
        return self.deployment

    def replicas_are_known(self, sentinels, number):
        """Waits until each Sentinel can promote one: it hears of them from the primary, every ten seconds."""
        for name in sentinels:
            written = functools.partial(self.deployment[name].run, "cat", "/data/sentinel.conf")
            until(f"{name} knows them", lambda written=written: written().count("known-replica") == number)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and hasattr(self, "deployment"):
            print(self.deployment.told)
