"""Cedar's own corpus through the parts that do not know our schema: dividing, indexing, asking blocks, joining.

AUTHZ_CEDAR_CORPUS names a folder in which `corpus-tests.tar.gz` of cedar-policy/cedar-integration-tests was unpacked.
What the tables of a block remember depends on our schema, and is held against Cedar in test_cedar.py.
"""

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cedarpy
import pytest

from authz.core.decision import Allow, Verdict, conclude
from authz.policy.blocks import Block, Written, make_blocks
from authz.policy.fields import Fields
from authz.policy.observations import Uid
from authz.policy.scopes import Scope, matching, scopes_of
from authz.policy.statements import split

FIELDS = Fields.of({}, ())
MOST_SETS = int(os.environ.get("AUTHZ_CEDAR_CORPUS_SETS", "100000"))


def corpus() -> list[Path]:
    """The cases; skips where there are none."""
    folder = os.environ.get("AUTHZ_CEDAR_CORPUS")
    if not folder:
        pytest.skip("AUTHZ_CEDAR_CORPUS names no folder with corpus-tests of cedar-policy/cedar-integration-tests")
    found = sorted(path for path in Path(folder, "corpus-tests").glob("*.json") if path.name.count(".") == 1)
    assert found, f"there are no cases in {folder}"
    return found[:MOST_SETS]


class Refused(Exception):
    """The set is not taken; its text says which rule says so."""


@dataclass(frozen=True)
class Case:
    """One policy set with its requests."""

    folder: Path
    document: dict[str, Any]

    @cached_property
    def policies(self) -> list[Written]:
        """The policies as we divide them, under the names that the corpus gives them; raises Refused."""
        statements = split((self.folder / self.document["policies"]).read_text())
        if any(statement.excess() for statement in statements):
            raise Refused("longer or deeper than we take")
        found: list[Written] = []
        for number, statement in enumerate(statements):
            text = f'@id("policy{number}")\n{statement.text}'
            try:
                parsed = cedarpy.policies_to_pst(text)
            except ValueError as error:
                raise Refused("Cedar's parser has no tree of it") from error
            (policy,) = parsed.static_policies.values()
            found.append(Written(f"policy{number}", policy.effect, text, tuple(scopes_of(policy)), frozenset()))
        return found

    @cached_property
    def blocks(self) -> dict[Scope, tuple[Block, ...]]:
        """The policies by scope and effect."""
        return make_blocks(self.policies, FIELDS, lambda _: frozenset())

    @cached_property
    def schema(self) -> cedarpy.Schema:
        """What the words of the requests mean."""
        return cedarpy.Schema.from_str((self.folder / self.document["schema"]).read_text())

    @cached_property
    def entities(self) -> cedarpy.Entities:
        """With the schema, in which the groups of actions are."""
        return cedarpy.Entities.from_json_str((self.folder / self.document["entities"]).read_text(), schema=self.schema)

    @cached_property
    def above(self) -> dict[Uid, frozenset[Uid]]:
        """Each entity with all that it is in, itself too."""
        parents: dict[Uid, set[Uid]] = {}
        for each in json.loads(str(self.entities)):
            uid = uid_of(each["uid"])
            parents.setdefault(uid, set()).update(map(uid_of, each["parents"]))
        return {uid: closed(uid, parents) for uid in parents}

    def verdict(self, request: dict[str, Any]) -> Verdict:
        """What the blocks say together."""
        permits, forbids, errors = set[str](), set[str](), set[str]()
        uids = [uid_of(request[name]) for name in ("principal", "action", "resource")]
        keys = [frozenset(matching(uid, self.above.get(uid, frozenset({uid})))) for uid in uids]
        asked = {name: request[name] for name in ("principal", "action", "resource")}
        for scope, blocks in self.blocks.items():
            if not all(key in some for key, some in zip(scope, keys, strict=True)):
                continue
            for block in blocks:
                question = {**asked, "context": json.dumps(request["context"])}
                result = cedarpy.is_authorized(question, block.handle(), self.entities, self.schema)
                (permits if block.permits else forbids).update(result.diagnostics.reasons)
                errors.update(result.diagnostics.errors)
        return Verdict(frozenset(permits), frozenset(forbids), tuple(sorted(errors)), "corpus")


def uid_of(document: dict[str, Any]) -> Uid:
    """An entity, however it is written."""
    document = document.get("__entity", document)
    return document["type"], document["id"]


def closed(uid: Uid, parents: dict[Uid, set[Uid]]) -> frozenset[Uid]:
    """It and all above it."""
    found, waiting = {uid}, [uid]
    while waiting:
        new = parents.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return frozenset(found)


def test_the_corpus_of_cedar() -> None:
    """For each request the decision, the policies behind it and those that err are Cedar's; where one errs we deny."""
    counts, refused = Counter[str](), Counter[str]()
    for path in corpus():
        case = Case(path.parents[1], json.loads(path.read_text()))
        try:
            case.policies  # noqa: B018  read once, to know
        except Refused as error:
            refused[str(error)] += 1
            continue
        counts["sets"] += 1
        for request in case.document["requests"]:
            verdict = case.verdict(request)
            counts["requests"] += 1
            erring = set(re.findall(r"policy\d+", " ".join(verdict.errors)))
            assert erring == set(request["errors"]), (path, request, verdict)
            behind = verdict.forbids or verdict.permits
            is_allowed = bool(verdict.permits) and not verdict.forbids
            assert is_allowed == (request["decision"] == "allow"), (path, request)
            assert behind == frozenset(request["reason"]), (path, request)
            counts["errors"] += bool(verdict.errors)
            assert isinstance(conclude(verdict), Allow) == (is_allowed and not verdict.errors)
    print(f"\n{dict(counts)}, refused: {dict(refused)}")  # noqa: T201  what was measured
    assert counts["requests"] > 0
    assert sum(refused.values()) <= counts["sets"] / 50
