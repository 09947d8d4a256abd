#!/usr/bin/env python3
"""scripts/check-k8s passes what is in k8s/, and finds each of many mistakes put into it."""

import copy
import importlib.machinery
import importlib.util
import pathlib
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def load_script():
    loader = importlib.machinery.SourceFileLoader("check_k8s", str(ROOT / "scripts" / "check-k8s"))
    spec = importlib.util.spec_from_loader("check_k8s", loader)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


checks = load_script()


class Things:
    """A copy of what an overlay renders to, to break."""

    def __init__(self, things):
        self.things = copy.deepcopy(things)

    def get(self, kind, name):
        return next(t for t in self.things if t["kind"] == kind and t["metadata"]["name"].startswith(name))

    def pod(self, kind, name):
        return self.get(kind, name)["spec"]["template"]["spec"]

    def container(self, kind, name):
        return self.pod(kind, name)["containers"][0]

    def config(self, name, old, new):
        data = self.get("ConfigMap", name)["data"]
        assert old in data["ilre.toml"]
        data["ilre.toml"] = data["ilre.toml"].replace(old, new)


def without(mapping, key):
    mapping.pop(key)


# What is done to the overlay `shared-volume`, and words of the problem that must be found.
MISTAKES = [
    (lambda t: t.pod("Deployment", "ilre-retriever")["securityContext"].update(runAsUser=0), "not root"),
    (lambda t: without(t.pod("StatefulSet", "ilre-encoder")["securityContext"], "seccompProfile"), "seccomp"),
    (lambda t: t.pod("Job", "ilre-fetch").update(automountServiceAccountToken=True), "token"),
    (lambda t: without(t.container("Deployment", "ilre-generator"), "securityContext"), "privileges"),
    (
        lambda t: t.container("Job", "ilre-fetch")["securityContext"].update(readOnlyRootFilesystem=False),
        "root filesystem",
    ),
    (lambda t: without(t.container("Deployment", "ilre-generator")["resources"], "limits"), "no limits"),
    (lambda t: t.container("Deployment", "ilre-generator").update(image="ilre:latest"), "no version"),
    (lambda t: without(t.container("Deployment", "ilre-generator"), "readinessProbe"), "readinessProbe"),
    (lambda t: t.container("Deployment", "ilre-generator")["livenessProbe"]["grpc"].update(port=1), "no port 1"),
    (lambda t: t.container("Deployment", "ilre-generator")["args"].append("--tls-cert=/etc/ilre/x"), "speak TLS"),
    (lambda t: t.pod("Deployment", "ilre-generator").update(terminationGracePeriodSeconds=25), "grace"),
    (lambda t: t.config("ilre-encoder", "drain-seconds = 20", "drain-seconds = 40"), "grace"),
    (lambda t: t.config("ilre-encoder", "threads = 4", "threads = 5"), "threads"),
    (lambda t: t.config("ilre-encoder", "0.0.0.0:50051", "0.0.0.0:50052"), "listen is not"),
    (lambda t: t.config("ilre-encoder", "0.0.0.0:9090", "127.0.0.1:9090"), "http-listen is not"),
    (lambda t: t.config("ilre-generator", "ilre-retriever:50051", "ilre-encoder:50051"), "no headless service"),
    (lambda t: t.config("ilre-encoder", "/var/lib/ilre/models", "/models"), "on no volume"),
    (
        lambda t: t.get("Deployment", "ilre-retriever")["spec"]["template"]["metadata"]["annotations"].update(
            {"prometheus.io/port": "1"}
        ),
        "Prometheus",
    ),
    (
        lambda t: t.get("Deployment", "ilre-retriever")["spec"]["selector"]["matchLabels"].update(x="y"),
        "its selector",
    ),
    (lambda t: t.get("Service", "ilre-retriever")["spec"]["selector"].update(x="y"), "no pod"),
    (lambda t: t.get("Service", "ilre-retriever")["spec"]["ports"][0].update(targetPort="http"), "port http"),
    (
        lambda t: t.get("PodDisruptionBudget", "ilre-encoder")["spec"]["selector"]["matchLabels"].update(x="y"),
        "is of no pod",
    ),
    (lambda t: t.things.remove(t.get("NetworkPolicy", "ilre-default-deny")), "denies everything"),
    (lambda t: without(t.get("NetworkPolicy", "ilre-encoder")["spec"]["ingress"][0], "from"), "everybody"),
    (
        lambda t: t.get("NetworkPolicy", "ilre-retriever")["spec"]["ingress"][0]["from"][1]["podSelector"][
            "matchLabels"
        ].update({"app.kubernetes.io/component": "generators"}),
        "do not exist",
    ),
    (
        lambda t: t.get("HorizontalPodAutoscaler", "ilre-generator")["spec"]["scaleTargetRef"].update(name="x"),
        "its target",
    ),
    (lambda t: t.get("Deployment", "ilre-generator")["spec"].update(replicas=1), "its target"),
    (lambda t: t.things.remove(t.get("Service", "ilre-encoder")), "its service does not exist"),
    (lambda t: t.things.remove(t.get("ServiceAccount", "ilre")), "service account"),
    (lambda t: t.things.remove(t.get("ConfigMap", "ilre-encoder")), "configMap"),
    (lambda t: t.things.remove(t.get("PersistentVolumeClaim", "ilre-store")), "persistentVolumeClaim ilre-store"),
    (lambda t: t.get("StatefulSet", "ilre-encoder")["spec"].update(replicas=2), "not one writer"),
    (
        lambda t: [
            without(mount, "readOnly")
            for mount in t.container("Deployment", "ilre-retriever")["volumeMounts"]
            if mount["name"] == "store"
        ],
        "not one writer",
    ),
]


class CheckK8s(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.secrets = checks.example_secrets()
        cls.shared = checks.render(ROOT / "k8s" / "overlays" / "shared-volume")

    def problems(self, things):
        deployment = checks.Deployment(things, self.secrets)
        return [problem for check in checks.CHECKS for problem in check(deployment)]

    def problems_but_of_schemas(self, things):
        deployment = checks.Deployment(things, self.secrets)
        return [problem for check in checks.CHECKS[1:] for problem in check(deployment)]

    def test_what_is_there_is_in_order(self):
        self.assertIs(checks.CHECKS[0], checks.check_schema)
        self.assertEqual(self.problems(self.shared), [])

    def test_an_unknown_field_is_found(self):
        things = Things(self.shared)
        things.get("Deployment", "ilre-retriever")["spec"].update(replica=2)
        self.assertTrue(any("'replica' was unexpected" in problem for problem in self.problems(things.things)))

    def test_every_mistake_is_found(self):
        for number, (spoil, words) in enumerate(MISTAKES):
            with self.subTest(number=number, words=words):
                things = Things(self.shared)
                spoil(things)
                self.assertTrue(any(words in problem for problem in self.problems_but_of_schemas(things.things)), words)

    def test_flags_are_compared_with_the_program(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            known = "--config --listen --http-listen --data-dir --model --tokens-file --threads --store-quota-bytes"
            program = folder / "ilre-encoder"
            program.write_text(f'#!/bin/sh\necho "{known} --drain-seconds-x --log-format"\n')
            program.chmod(0o755)
            unknown = set()
            deployment = checks.Deployment(self.shared, self.secrets)
            found = list(checks.check_flags(deployment, folder, unknown))
            self.assertEqual(found, ["StatefulSet/ilre-encoder: ilre-encoder has no flag --drain-seconds"])
            self.assertEqual(unknown, {"ilre-retriever", "ilre-generator"})

    def test_metrics_that_nobody_exports_are_found(self):
        deployment = checks.Deployment(self.shared, self.secrets)
        exported = {"ilre_queue_depth", "ilre_some_seconds"}
        found = list(checks.check_metrics(deployment, exported, "rate(ilre_some_seconds_bucket[5m]) > ilre_gone"))
        self.assertEqual(
            found, [f"no server exports the metric {name}" for name in ("ilre_gone", "ilre_running_requests")]
        )

    def test_what_the_document_leaves_out_is_found(self):
        with tempfile.TemporaryDirectory() as name:
            program = pathlib.Path(name) / "ilre-encoder"
            program.write_text('#!/bin/sh\necho "  --help  --listen TEXT  --listen-more TEXT"\n')
            program.chmod(0o755)
            text = "`--listen ADDRESS` and ilre_one"
            found = list(checks.check_document(text, {"ilre_one", "ilre_two"}, pathlib.Path(name)))
            self.assertEqual(len(found), 2, found)
            self.assertIn("ilre_two", found[0])
            self.assertIn("--listen-more", found[1])


if __name__ == "__main__":
    if shutil.which("kubectl") is None:
        print("no kubectl: scripts/setup --for-tests")
        sys.exit(77)
    unittest.main()
