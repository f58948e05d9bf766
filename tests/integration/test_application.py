# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an operator writes of an application is completed, or refused before anything is stopped."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.filter import application


def test_nothing_said_means_that_nothing_is_stopped():
    for given in (None, {}):
        found = application.application(given)
        assert (found["kind"], found["probe"], found["check"], found["timeout"]) == ("none", {}, "", 60)


def test_one_name_and_several_are_a_list():
    assert application.application({"systemd": "shop.service"})["names"] == ["shop.service"]
    found = application.application({"podman": ["db", "web"], "timeout": 5, "check": "true"})
    assert (found["kind"], found["names"], found["timeout"], found["check"]) == ("podman", ["db", "web"], 5, "true")


def test_deployment_and_probe_are_completed():
    found = application.application({"kubernetes": "shop", "probe": {"url": "http://127.0.0.1/"}})
    assert found["kubernetes"] == {"deployment": "shop", "namespace": "default", "kubectl": "kubectl", "host": ""}
    assert found["probe"] == {"url": "http://127.0.0.1/", "status": 200, "contains": "", "validate_certs": True}
    assert application.application({"probe": {"command": "true"}})["probe"] == {"command": "true"}


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ("shop.service", "it is a mapping"),
        ({"systemd": "a", "podman": "b"}, "not systemd and podman"),
        ({"systemd": ""}, "'systemd' is a name"),
        ({"systemd": ["a", 5]}, "'systemd' is a name"),
        ({"systemd": "--now"}, "'systemd' is a name"),
        ({"colour": "red"}, "there is no 'colour'"),
        ({"timeout": 0}, "no positive number"),
        ({"timeout": "soon"}, "'timeout' is of the wrong type"),
        ({"timeout": True}, "'timeout' is of the wrong type"),
        ({"check": 5}, "'check' is of the wrong type"),
        ({"kubernetes": {}}, "'deployment' is missing"),
        ({"kubernetes": {"deployment": "a", "replicas": 3}}, "there is no 'replicas'"),
        ({"commands": {"stop": "a"}}, "'start' is missing"),
        ({"commands": "a"}, "it is a mapping"),
        ({"probe": {"url": "a", "command": "b"}}, "either a 'url' or a 'command'"),
        ({"probe": {"contains": "a"}}, "either a 'url' or a 'command'"),
        ({"probe": {"command": "a", "status": 200}}, "nothing else goes with it"),
        ({"probe": {"url": "a", "status": "200"}}, "'status' is of the wrong type"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_cause(given, cause):
    with pytest.raises(AnsibleFilterError) as caught:
        application.application(given)
    assert cause in str(caught.value)
