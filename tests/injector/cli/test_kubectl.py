"""kubectl as a program that is not there, that fails, that answers: what a verb makes of it. The real one: tests/e2e/kubernetes."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from injector.cli.kubectl import (
    Forbidden,
    Kubectl,
    KubectlError,
    KubectlMissing,
    NoCluster,
    NotFound,
    add_arguments,
    add_scope,
    complaint,
)

KLOG = 'E1121 10:01:37.893846   26316 memcache.go:265] "Unhandled Error" err="could not get"\n'
Program = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A kubectl of the test's own: the shell text that it runs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(text: str) -> Path:
        path = tmp_path / "kubectl"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.parametrize(("stderr", "kind", "words"), [
    ('Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:shop:web" cannot list resource "pods" in API group "" '
     'in the namespace "shop"', Forbidden,
     "system:serviceaccount:shop:web may not list pods in the namespace shop; a role with this rule would let it: "
     '{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}'),
    ('Error from server (Forbidden): x is forbidden: User "eve" cannot list resource "meshpolicies" in API group "bartizan.dev" at the '
     "cluster scope", Forbidden, "eve may not list meshpolicies.bartizan.dev in the whole cluster; "),
    ('Error from server (Forbidden): admission webhook "x" denied the request', Forbidden, "denied the request"),
    ('Error from server (NotFound): pods "nope" not found', NotFound, 'pods "nope" not found'),
    ('error: the server doesn\'t have a resource type "egresspolicies"', NotFound, "egresspolicies"),
    ("error: You must be logged in to the server (Unauthorized)", NoCluster, "log in anew"),
    (KLOG * 3 + "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?", NoCluster,
     "no cluster answers: The connection to the server 127.0.0.1:1 was refused"),
    ("Error in configuration: context was not found for specified context: nope", KubectlError, "nope"),
    ("error: \x1b[2Jgone", KubectlError, r"kubectl: \x1b[2Jgone"),
    (KLOG, KubectlError, "does not say why"),
])
def test_a_complaint_is_the_error_that_it_is(stderr: str, kind: type[KubectlError], words: str) -> None:
    found = complaint(stderr)
    assert type(found) is kind
    assert words in str(found)
    assert "memcache" not in str(found)


def test_the_right_that_is_missing_is_a_rule() -> None:
    found = complaint('User "eve" cannot create resource "pods/exec" in API group "" in the namespace "bartizan-system"')
    assert isinstance(found, Forbidden)
    assert found.right == {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}


def test_where_there_is_no_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KubectlMissing, match="install it"):
        Kubectl().run("version")


def test_one_that_cannot_be_started(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("").chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KubectlMissing, match="cannot be started"):
        Kubectl().run("version")


def test_one_that_does_not_end(program: Program) -> None:
    program("exec sleep 60")
    with pytest.raises(NoCluster, match=r"did not end within 0\.2 s"):
        Kubectl().run("version", within_s=0.2)


def test_what_it_is_asked(program: Program) -> None:
    program('printf \'{"items": [], "said": "%s"}\' "$*"')
    kubectl = Kubectl("prod", "/k")
    assert kubectl.json("get", "x")["said"] == "--context=prod --kubeconfig=/k get x"
    assert Kubectl().get("pod", "web-1", "shop")["said"] == "get pod web-1 -n shop -o json"
    assert Kubectl().list("pods,services") == []
    program('echo "$@" >&2; exit 1')
    for call, words in (
        (lambda: kubectl.list("pods", "", "app=web"), "get pods --all-namespaces --selector=app=web -o json"),
        (lambda: kubectl.list("pods", "shop"), "get pods -n shop -o json"),
        (lambda: kubectl.exec("shop", "web-1", "app", ["a", "b"]), "exec -i -n shop web-1 -c app -- a b"),
        (lambda: kubectl.apply(b"x", "--dry-run=server"), "apply --server-side --field-manager=bartizan --dry-run=server -f -"),
        (lambda: kubectl.raw("/version"), "get --raw /version"),
    ):
        with pytest.raises(KubectlError) as failed:
            call()
        assert str(failed.value) == f"kubectl: --context=prod --kubeconfig=/k {words}"


@pytest.mark.parametrize("text", ["echo '<html>'", "echo []", "echo '{\"items\": 3}'", "echo '{\"items\": [3]}'"])
def test_an_answer_that_is_none(text: str, program: Program) -> None:
    program(text)
    with pytest.raises(KubectlError, match="answers what is no"):
        Kubectl().list("pods")


def test_a_right_is_asked_for(program: Program, tmp_path: Path) -> None:
    program(f'cat > {tmp_path}/asked; echo \'{{"status": {{"allowed": true}}}}\'')
    assert Kubectl().may("create", "pods/exec", namespace="bartizan-system")
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked["spec"]["resourceAttributes"] == {
        "verb": "create", "resource": "pods", "subresource": "exec", "namespace": "bartizan-system"}
    program("cat > /dev/null; echo '{\"status\": {\"allowed\": false}}'")
    assert not Kubectl().may("create", "pods")


def test_which_namespace_is_meant(program: Program) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    add_scope(parser)
    program('[ "$1 $2" = "config view" ] && printf shop')
    assert Kubectl().namespace(parser.parse_args(["-n", "bank"])) == "bank"
    assert Kubectl().namespace(parser.parse_args(["-A"])) == ""
    assert Kubectl().namespace(parser.parse_args([])) == "shop"
    program("true")
    assert Kubectl().namespace(parser.parse_args([])) == "default"
