"""The page on moving from opa-envoy-plugin, run: its policies in a real OPA, its settings in a real server."""

import json
import re
from pathlib import Path

import yaml
from google.protobuf.json_format import MessageToDict

from authz.core.request import MAX_SHOWN_BODY_BYTES
from authz.wire.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.support.opa import running_opa
from tests.support.servers import free_port, serve, until
from tests.support.world import World

PAGE = (Path(__file__).parents[1] / "docs" / "opa-envoy-plugin.md").read_text()
POLICY, MASK = re.findall(r"^```rego\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(SETTINGS,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECRETS = ["Bearer hunter2", "sid=swordfish", "opensesame"]


def with_secrets(message: bytes) -> bytes:
    """The check, with credentials in headers and in the body."""
    check = CheckRequest.FromString(message)
    http = check.attributes.request.http
    http.headers.update({"authorization": SECRETS[0], "cookie": SECRETS[1], "content-type": "application/json"})
    http.raw_body = json.dumps({"password": SECRETS[2]}).encode()
    return check.SerializeToString()


def test_the_policies_of_the_page_move_over_and_no_credential_is_written_down(tmp_path: Path) -> None:
    """A read is allowed with the policy's changes, a write denied in its words; no log, ours or OPA's, has a secret."""
    folder, address = tmp_path / "opa", f"127.0.0.1:{free_port()}"
    folder.mkdir()
    (folder / "policy.rego").write_text(POLICY)
    (folder / "mask.rego").write_text(MASK)
    with running_opa(folder, "--set=decision_logs.console=true") as opa:
        policy = yaml.safe_load(SETTINGS.replace("127.0.0.1:8181", opa))["policy"]
        policy["opa"]["timeout_seconds"] = 5.0
        world = World(
            tmp_path,
            settings={
                "policy": policy,
                "server": {"listen": address, "transport": "plaintext", "check_timeout_seconds": 10},
            },
        )
        task = world.start_task()
        with serve(world.config_file, address) as server:
            allowed = server.check(with_secrets(world.check(task.id)))
            denied = server.check(with_secrets(world.check(task.id, method="PUT")))
            broken = server.check(with_secrets(world.check(task.id, path="/contacts/42?a=%")))
        until(lambda: (folder / "log").read_text().count('"decision_id"') >= 2)
    added = [(each.header.key, each.header.value) for each in allowed.ok_response.response_headers_to_add]
    assert (allowed.status.code, added) == (0, [("x-team", "crm")])
    assert next(iter(allowed.ok_response.headers_to_remove)) == "x-debug"
    assert (denied.denied_response.status.code, denied.denied_response.body) == (404, "there is nothing here")
    assert MessageToDict(denied.dynamic_metadata)["reason"] == "policy_permits_nothing"
    assert broken.denied_response.status.code == 400
    for written in (world.folder / "audit.jsonl", server.log_file, folder / "log"):
        found = written.read_text()
        assert found
        assert not [secret for secret in SECRETS if secret in found], written


def test_the_page_names_the_bound_of_bodies() -> None:
    """The size from which bodies are denied is the one that holds."""
    assert f"A body of more than {MAX_SHOWN_BODY_BYTES // 1024} KiB is denied" in " ".join(PAGE.split())
