"""What is a policy bundle and what is none: forms, signatures, pins, and what no signature makes good."""

import base64
import gzip
import hashlib
import hmac
import json
import os
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from authz.core.errors import Place, Unusable
from authz.policy.bundle import MAX_AHEAD_SECONDS, Bundle, Terms, make_bundle, read_bundle
from authz.policy.bundle_archive import (
    MAX_ARCHIVE_BYTES,
    MAX_FILES,
    MAX_UNPACKED_BYTES,
    NotAnArchive,
    read_archive,
    write_archive,
)
from authz.policy.bundle_keys import BundleKey, read_public_keys
from authz.policy.files import PolicyFile
from tests.support.bundles import NOW, SIGNER, Draft, digest, entry, jwks, packed
from tests.support.opa import opa_program
from tests.support.rego import DATA, rego_world
from tests.support.world import POLICIES

PLACE = Place(Path("bundle.tar.gz"))
CORRUPTIONS = int(os.environ.get("AUTHZ_CORRUPTIONS", "10000"))
STRANGER = ECKey.generate_key("P-256", {"kid": "release"})


def keys_of(folder: Path, *keys: ECKey | OKPKey | RSAKey) -> dict[str, BundleKey]:
    """The keys as a server reads them."""
    (folder / "keys.json").write_text(jwks(*keys))
    return dict(read_public_keys(folder / "keys.json"))


@pytest.fixture(scope="session")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Terms:
    """A server that trusts the one signer."""
    return Terms(keys_of(tmp_path_factory.mktemp("keys"), SIGNER))


def told(value: object) -> str:
    """The part of a test's name that is the same in each run: bundles are not."""
    return value if isinstance(value, str) else type(value).__name__


def refusal(content: bytes, terms: Terms) -> str:
    """Why it is none."""
    with pytest.raises(Unusable) as refused:
        read_bundle(content, PLACE, terms)
    (problem,) = refused.value.problems
    assert problem.remedy
    return problem.what


def test_a_signed_bundle_is_its_files(terms: Terms) -> None:
    """Names, contents, signer and time come out as they went in."""
    bundle = read_bundle(Draft.of().archive(), PLACE, terms)
    assert [(file.name, file.text, str(file.path)) for file in bundle.files] == [
        ("crm.cedar", POLICIES, "bundle.tar.gz/crm.cedar")
    ]
    assert bundle.signature is not None
    assert (bundle.signature.signer, bundle.signature.issued_unix_seconds) == ("release", NOW)
    bundle.must_hold_at(time.time())


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("before", ["", "./", "/"])
def test_archives_of_other_tools_are_read(terms: Terms, form: int, before: str) -> None:
    """GNU's tar and POSIX's; names as `tar -C folder .` and as OPA write them; folders are passed over."""
    folder = tarfile.TarInfo(f"{before}teams")
    folder.type = tarfile.DIRTYPE
    draft = Draft({"teams/crm.cedar": POLICIES.encode(), "a.cedar": b"x"})
    members = [(tarfile.TarInfo(before + name), content) for name, content in draft.members().items()]
    bundle = read_bundle(packed([(folder, b""), *members], form), PLACE, terms)
    assert [file.name for file in bundle.files] == ["a.cedar", "teams/crm.cedar"]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ECKey.generate_key("P-256", {"kid": "k"}), "ES256"),
        (ECKey.generate_key("P-384", {"kid": "k"}), "ES384"),
        (OKPKey.generate_key("Ed25519", {"kid": "k"}), "Ed25519"),
        (RSAKey.generate_key(2048, {"kid": "k"}), "RS256"),
        (RSAKey.generate_key(2048, {"kid": "k"}), "PS256"),
    ],
    ids=told,
)
def test_each_kind_of_key_signs(tmp_path: Path, key: ECKey | OKPKey | RSAKey, algorithm: str) -> None:
    """ES256, ES384, Ed25519, RS256 and PS256 count, each with a key of its kind."""
    draft = Draft(key=key, algorithm=algorithm, header={"kid": "k"})
    assert read_bundle(draft.archive(), PLACE, Terms(keys_of(tmp_path, key))).files


def test_a_bundle_may_hold_many_files_and_large_ones(tmp_path: Path, terms: Terms) -> None:
    """As many as the limits say, by our own maker and by others."""
    many = {f"team-{number:04}/{'x' * 60}.cedar": b"" for number in range(MAX_FILES - 2)}
    large = {"large.cedar": random.Random(6).randbytes(1024 * 1024)}  # noqa: S311  what cannot be packed smaller
    for files in (many, large):
        key = BundleKey("release", frozenset({"ES256"}), SIGNER)
        ours = make_bundle([PolicyFile(tmp_path, held, name) for name, held in files.items()], "r", key, {"iat": NOW})
        for content in (ours, Draft(dict(files)).archive()):
            assert {file.name: file.content for file in read_bundle(content, PLACE, terms).files} == files


def test_the_one_key_need_not_be_named(tmp_path: Path, terms: Terms) -> None:
    """As `opa sign` leaves it; with two keys it must be, in the header or as the claim keyid."""
    unnamed, named = Draft(header={"typ": "JWT"}), Draft(header={}, claims={"keyid": "release"})
    assert read_bundle(unnamed.archive(), PLACE, terms).files
    two = Terms(keys_of(tmp_path, SIGNER, ECKey.generate_key("P-256", {"kid": "other"})))
    assert "a key that is not known: None" in refusal(unnamed.archive(), two)
    assert read_bundle(named.archive(), PLACE, two).files


def without_signature() -> bytes:
    """No signature file."""
    return packed({"crm.cedar": POLICIES.encode()})


def with_signatures(document: object) -> bytes:
    """Another signature file."""
    return packed({".signatures.json": json.dumps(document).encode(), "crm.cedar": POLICIES.encode()})


def forged(algorithm: str, signature: Callable[[bytes], bytes]) -> bytes:
    """With a signature of that kind, which no library would make."""
    header = json.dumps({"alg": algorithm, "kid": "release"}).encode()
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, Draft.of().payload()))
    token = signed + b"." + base64.urlsafe_b64encode(signature(signed)).rstrip(b"=")
    return with_signatures({"signatures": [token.decode()]})


def with_none() -> bytes:
    """The algorithm `none`."""
    return forged("none", lambda _: b"x")


def with_the_public_key_as_secret() -> bytes:
    """HS256 by the public key: what a library that believes the header would take."""
    return forged("HS256", lambda signed: hmac.digest(SIGNER.as_pem(private=False), signed, "sha256"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (without_signature(), "it is not signed"),
        (with_signatures({"signatures": []}), "one signature"),
        (with_signatures({"signatures": [Draft.of().token()] * 2}), "one signature"),
        (with_signatures({"signatures": [Draft.of().token()], "plugin": "x"}), "by a plugin that is not known"),
        (with_signatures({"signatures": [7]}), "no text"),
        (with_signatures({"signatures": ["a.b"]}), "no JWS"),
        (with_signatures([]), "not a JSON object"),
        (with_none(), "signed with 'none'"),
        (with_the_public_key_as_secret(), "signed with 'HS256'"),
        (Draft(key=STRANGER).archive(), "not by the key 'release'"),
        (Draft(header={"kid": "stranger"}).archive(), "a key that is not known: 'stranger'"),
        (Draft(key=ECKey.generate_key("P-384"), algorithm="ES384").archive(), "signed with 'ES384'"),
        (Draft.of(scope="staging").archive(), "signed for the scope 'staging'"),
        (Draft.of(iat=None).archive(), "does not say when it was signed"),
        (Draft.of(iat="yesterday").archive(), "iat is no time"),
        (Draft.of(exp=True).archive(), "exp is no time"),
        (Draft.of(files=None).archive(), "lists no files"),
        (Draft(listed=[]).archive(), "which its signature does not list"),
        (Draft(listed=[entry("crm.cedar", b"other")]).archive(), "is not the file that was signed"),
        (Draft(listed=[entry("crm.cedar", POLICIES.encode())] * 2).archive(), "twice"),
        (
            Draft(listed=[entry("crm.cedar", POLICIES.encode()), entry("more.cedar", b"")]).archive(),
            "'more.cedar', which it does not hold",
        ),
        (Draft(listed=[entry("crm.cedar", POLICIES.encode(), "MD5")]).archive(), "by 'MD5'"),
        (Draft(listed=[{"name": "crm.cedar", "hash": ""}]).archive(), "something else than name"),
        (Draft(listed=[{**entry("crm.cedar", b""), "hash": 1}]).archive(), "something else than name"),
        (Draft({}).archive(), "it holds no policy file"),
        (Draft({".manifest": b"{}"}, listed=[entry(".manifest", b"{}")]).archive(), "it holds no policy file"),
        (Draft({"a.cedar": b"", "README.md": b""}).archive(), "README.md, which is no policy file"),
        (Draft({"a.cedar": b"", ".b.cedar": b""}).archive(), ".b.cedar, which is no policy file"),
        (Draft({"a.cedar": b"", ".x/b.cedar": b""}).archive(), ".x/b.cedar, which is no policy file"),
        (Draft({"a.cedar": b"", ".manifest": b"[]"}).archive(), "no JSON document"),
        (
            Draft({"a.cedar": b"", ".manifest": b'{"revision":7}'}).archive(),
            "a revision that is no text",
        ),
        (Draft({"a.cedar": b"", ".manifest": b'{"a":1,"a":1}'}).archive(), "no JSON document"),
        (Draft({"a.cedar": b"", ".manifest": b'{"a":"\\ud800"}'}).archive(), "no JSON document"),
        (b"", "cut short"),
        (b"PK\x03\x04", "not gzip"),
        (bytes(MAX_ARCHIVE_BYTES + 1), "longer than"),
    ],
    ids=told,
)
def test_what_is_not_signed_whole_by_a_known_key_is_refused(terms: Terms, content: bytes, why: str) -> None:
    """Unsigned, by a stranger, by no or a shared secret, with a file more or less: each is refused with its reason."""
    assert why in refusal(content, terms)


def member(name: str = "crm.cedar", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:  # noqa: ANN401  as TarInfo's
    """A member of an archive, with its header changed."""
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made, b"" if fields.get("type") else POLICIES.encode()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([member(type=tarfile.SYMTYPE, linkname="/etc/passwd")], "only plain files"),
        ([member(type=tarfile.LNKTYPE, linkname="a")], "only plain files"),
        ([member(type=tarfile.CHRTYPE)], "only plain files"),
        ([member(type=tarfile.FIFOTYPE)], "only plain files"),
        ([member(type=tarfile.CONTTYPE)], "only plain files"),
        ([member("a" * 150 + "/b.cedar")], "only plain files"),  # a long name of GNU's is an extension
        ([member(), member()], "crm.cedar is in it twice"),
        ([member(), member("./crm.cedar")], "crm.cedar is in it twice"),
        ([member(), member("/crm.cedar")], "crm.cedar is in it twice"),
        ([member("../crm.cedar")], "not a plain relative name"),
        ([member("a/../../crm.cedar")], "not a plain relative name"),
        ([member("a/./crm.cedar")], "not a plain relative name"),
        ([member("a//crm.cedar")], "not a plain relative name"),
        ([member("//crm.cedar")], "not a plain relative name"),
        ([member("..")], "not a plain relative name"),
        ([member("a\\b.cedar")], "not a plain relative name"),
        ([member("crm\n.cedar")], "not a plain relative name"),
        ([member("crm\u202e.cedar")], "not a plain relative name"),
        ([member("C:crm.cedar")], "not a plain relative name"),
        ([member(f"{number}.cedar") for number in range(MAX_FILES + 1)], "more than"),
    ],
    ids=told,
)
def test_an_archive_with_anything_but_plain_files_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    """Links, devices, ways out of the folder, one name twice: refused before anybody asks who signed."""
    with pytest.raises(NotAnArchive, match=why):
        read_archive(packed(members))


def test_what_unpacks_to_too_much_is_refused_early() -> None:
    """Some kilobytes that stand for hundreds of megabytes cost neither the memory nor the time."""
    bomb = packed({"a.cedar": bytes(16 * MAX_UNPACKED_BYTES)})
    assert len(bomb) < MAX_ARCHIVE_BYTES
    before = time.process_time()
    with pytest.raises(NotAnArchive, match="unpacks to more than"):
        read_archive(bomb)
    assert time.process_time() - before < 1


def test_what_stands_behind_the_end_is_refused(terms: Terms) -> None:
    """Another archive behind the first, in gzip or in tar, is not passed over."""
    whole = Draft.of().archive()
    assert "something follows" in refusal(whole + whole, terms)
    assert "something follows" in refusal(gzip.compress(gzip.decompress(whole) * 2), terms)
    assert "end mark" in refusal(gzip.compress(gzip.decompress(whole)[:-10240]), terms)


def test_no_cut_and_no_flipped_bit_makes_another_bundle(terms: Terms) -> None:
    """Of 10,000 archives that were cut or have a bit flipped none is taken for another than the one that was signed."""
    whole, chance, taken = Draft.of().archive(), random.Random(3), 0  # noqa: S311  what to break
    files = read_bundle(whole, PLACE, terms).files
    cuts = [whole[:at] for at in range(len(whole))]
    for broken in [*cuts, *(flipped(whole, chance) for _ in range(CORRUPTIONS - len(cuts)))]:
        try:
            bundle = read_bundle(broken, PLACE, terms)
        except Unusable:
            continue
        taken += 1
        assert bundle.files == files  # the bit is one of gzip's time stamp, and says nothing
        assert bundle.digest != hashlib.sha256(whole).hexdigest()
    assert taken < CORRUPTIONS / 50


def test_no_flipped_bit_within_the_tar_makes_another_bundle(terms: Terms) -> None:
    """Also where gzip's own sum is right: a header has one reading, and what was signed is the content."""
    tar, chance = gzip.decompress(Draft.of().archive()), random.Random(7)  # noqa: S311  as above
    files = read_bundle(gzip.compress(tar), PLACE, terms).files
    used, taken = len(tar.rstrip(b"\0")), 0
    for _ in range(CORRUPTIONS // 5):
        try:
            bundle = read_bundle(gzip.compress(flipped(tar[:used], chance) + tar[used:], 1), PLACE, terms)
        except Unusable:
            continue
        taken += 1
        assert bundle.files == files  # the bit is in what fills a block up
    assert taken < CORRUPTIONS / 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tar: tar[:100] + b"0000666\0" + tar[108:], "the sum of a header is wrong"),
        (lambda tar: summed(tar[:124] + b"99999999999\0" + tar[136:512]) + tar[512:], "not octal"),
        (lambda tar: summed(tar[:124] + b"\x80" + bytes(10) + b"\x01" + tar[136:512]) + tar[512:], "not octal"),
        (lambda tar: summed(tar[:124] + b"77777777777\0" + tar[136:512]) + tar[512:], "cut short"),
        (lambda tar: summed(tar[:156] + b"5" + tar[157:512]) + tar[512:], "a folder in it has a content"),
        (lambda tar: summed(tar[:156] + b"x" + tar[157:512]) + tar[512:], "only plain files"),
        (lambda tar: summed(tar[:156] + b"g" + tar[157:512]) + tar[512:], "only plain files"),
        (lambda tar: summed(tar[:257] + bytes(8) + tar[265:512]) + tar[512:], "no tar of the ustar form"),
        (lambda tar: tar[:1024] + bytes(512), "no end mark"),
        (lambda tar: tar[:1024] + bytes(512) + b"x" * 512, "no end mark"),
        (lambda tar: tar + b"x", "something follows"),
        (lambda tar: bytes(512) + tar, "something follows"),
        (lambda tar: tar[:515], "cut short"),
        (lambda tar: tar[:1024], "no end mark"),
        (lambda tar: tar[:1024] + tar[:300], "no end mark"),
    ],
)
def test_a_tar_with_two_readings_is_refused(change: Callable[[bytes], bytes], why: str) -> None:
    """What others repair, skip or take for the end has no reading here."""
    tar = gzip.decompress(packed({"a.cedar": b"permit"}, tarfile.USTAR_FORMAT))
    with pytest.raises(NotAnArchive, match=why):
        read_archive(gzip.compress(change(tar)))


def summed(header: bytes) -> bytes:
    """The header with its sum put right."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def test_with_a_pin_no_broken_archive_is_taken_at_all() -> None:
    """The digest is of every byte."""
    whole, chance = Draft.of().archive(), random.Random(4)  # noqa: S311  as above
    pinned = Terms(None, hashlib.sha256(whole).hexdigest())
    assert read_bundle(whole, PLACE, pinned).files
    for _ in range(CORRUPTIONS):
        assert "its digest is sha256:" in refusal(flipped(whole, chance), pinned)


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit of it, anywhere."""
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


@given(st.binary(max_size=3000) | st.binary(max_size=3000).map(lambda held: packed({"a.cedar": held})[:-20]))
@settings(max_examples=300)
def test_any_bytes_are_an_archive_or_refused(content: bytes) -> None:
    """Whatever a server sends, the reader answers with files or with NotAnArchive."""
    with pytest.raises(NotAnArchive):
        read_archive(content)


NAMES = st.from_regex(r"[a-z]{1,20}(/[a-z]{1,20}){0,3}\.cedar", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8))
def test_what_is_packed_comes_out_and_always_packs_the_same(files: dict[str, bytes]) -> None:
    """Pack and read are each other's inverse, whatever the order; and tar's own library reads the same."""
    content = write_archive(files)
    assert read_archive(content) == files
    assert content == write_archive(dict(reversed(files.items())))
    assert read_archive(packed(files)) == files


def test_without_keys_or_a_pin_there_are_no_terms() -> None:
    """That anybody's bundle counts cannot even be said."""
    with pytest.raises(ValueError, match="anybody's"):
        Terms(None)


def test_of_no_keys_no_bundle_counts() -> None:
    """Empty means no."""
    assert "a key that is not known" in refusal(Draft.of().archive(), Terms({}))


def issued(terms: Terms, **claims: Any) -> Bundle:  # noqa: ANN401  as JSON has them
    """A bundle with these claims."""
    return read_bundle(Draft.of(**claims).archive(), PLACE, terms)


def test_a_bundle_counts_in_its_time_alone(terms: Terms) -> None:
    """Not from `exp` on, not before `nbf`, and not while it was signed far in the future."""
    bundle = issued(terms, iat=NOW, nbf=NOW + 10, exp=NOW + 20)
    for seconds, why in (
        (NOW + 9.9, "future"),
        (NOW + 10, ""),
        (NOW + 19.9, ""),
        (NOW + 20, "expired"),
        (NOW + 99, "expired"),
    ):
        assert (why in held(bundle, seconds)) if why else not held(bundle, seconds)
    ahead = issued(terms, iat=NOW + MAX_AHEAD_SECONDS + 1)
    assert "future" in held(ahead, NOW)
    assert not held(ahead, NOW + 1)


def held(bundle: Bundle, seconds: float) -> str:
    """Why it does not, or nothing."""
    return problem_of(lambda: bundle.must_hold_at(seconds))


def problem_of(check: Callable[[], None]) -> str:
    """Why the check refuses, or nothing."""
    try:
        check()
    except Unusable as unusable:
        return str(unusable)
    return ""


def test_only_a_later_bundle_follows(terms: Terms) -> None:
    """One of the same second with other contents does not, nor an older one; the same again does."""
    old, new = issued(terms, iat=NOW), issued(terms, iat=NOW + 1)
    twin = read_bundle(Draft.of(POLICIES + "\n", iat=NOW).archive(), PLACE, terms)
    assert not problem_of(lambda: new.must_follow(old))
    assert not problem_of(lambda: old.must_follow(old))
    assert not problem_of(lambda: old.must_follow(None))
    assert "no later" in problem_of(lambda: old.must_follow(new))
    assert "no later" in problem_of(lambda: twin.must_follow(old))


def test_a_scope_is_asked_for_where_one_is_configured(terms: Terms) -> None:
    """A bundle for staging is none for production, though one key signs both."""
    production = Terms(terms.keys, scope="production")
    assert read_bundle(Draft.of(scope="production").archive(), PLACE, production).files
    assert "for the scope 'staging'" in refusal(Draft.of(scope="staging").archive(), production)
    assert "for the scope ''" in refusal(Draft.of().archive(), production)


def short_rsa() -> dict[str, str]:
    """A public key that can be broken."""
    key = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  it is to be refused
    numbers = key.public_numbers()
    n = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).rstrip(b"=").decode()
    return {"kty": "RSA", "n": n, "e": "AQAB", "kid": "a"}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{}", "keys is no list"),
        ("[]", "not a JSON object"),
        (json.dumps({"keys": [SIGNER.as_dict(private=True)]}), "secret"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}), "secret"),
        (jwks(SIGNER, SIGNER), "two keys have one `kid`"),
        (jwks(ECKey.generate_key("P-256")), "KeyError: 'kid'"),
        (jwks(ECKey.generate_key("P-521", {"kid": "a"})), "of a type that is not taken"),
        (json.dumps({"keys": [short_rsa()]}), "fewer than 2048 bits"),
        (jwks(ECKey.generate_key("P-256", {"kid": "a", "alg": "ES512"})), "an alg that is not taken"),
        (jwks(ECKey.generate_key("P-256", {"kid": "a", "use": "enc"})), "not for signatures"),
        ('{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"}]}', "is no JWK Set"),
    ],
    ids=lambda value: value if len(value) < 60 else "keys",
)
def test_keys_that_could_weaken_the_proof_are_refused(tmp_path: Path, document: str, why: str) -> None:
    """Private, shared, short and unnamed keys are told at load, not found out later."""
    (tmp_path / "keys.json").write_text(document)
    with pytest.raises(Unusable) as refused:
        read_public_keys(tmp_path / "keys.json")
    assert why in str(refused.value)


MANIFEST = '{"revision":"r1", "b": 1.50, "roots": ["authz"], "u": "a\\u2028<>&\\u007f\\u0008\\u0001\\t\\"\\\\ä😀"}'


@pytest.fixture
def signed_by_opa(tmp_path: Path) -> bytes:
    """An archive whose signature is by `opa sign`."""
    folder = tmp_path / "bundle"
    (folder / "teams").mkdir(parents=True)
    (folder / "teams" / "crm.cedar").write_text(POLICIES)
    (folder / ".manifest").write_text(MANIFEST)
    (tmp_path / "claims.json").write_text(json.dumps({"iat": NOW, "keyid": "release"}))
    (tmp_path / "key.pem").write_bytes(SIGNER.as_pem(private=True))
    command = [opa_program(), "sign", "--bundle", ".", "--signing-key", "../key.pem", "--signing-alg", "ES256"]
    subprocess.run([*command, "--claims-file", "../claims.json"], cwd=folder, check=True)
    subprocess.run([str(shutil.which("tar")), "czf", "../bundle.tar.gz", "."], cwd=folder, check=True)
    return (tmp_path / "bundle.tar.gz").read_bytes()


def test_what_opa_signed_is_proven_here(signed_by_opa: bytes, terms: Terms) -> None:
    """`opa sign` and `tar` make a bundle; JSON documents are digested as OPA does, escapes and numbers included."""
    bundle = read_bundle(signed_by_opa, PLACE, terms)
    assert (bundle.revision, [file.name for file in bundle.files]) == ("r1", ["teams/crm.cedar"])


def test_a_bundle_in_rego_of_opa_build_is_proven_here(tmp_path: Path, terms: Terms) -> None:
    """`opa build` signs what it packs, and names the way that it signs in: rules and data come out as they are."""
    rego_world(tmp_path)
    (tmp_path / "key.pem").write_bytes(SIGNER.as_pem(private=True))
    (tmp_path / "claims.json").write_text(json.dumps({"iat": NOW, "keyid": "release"}))
    command = [opa_program(), "build", "--bundle", "rules", "--signing-key", "key.pem", "--signing-alg", "ES256"]
    command += ["--claims-file", "claims.json", "--revision", "r9", "--output", "bundle.tar.gz"]
    subprocess.run(command, cwd=tmp_path, check=True)
    bundle = read_bundle((tmp_path / "bundle.tar.gz").read_bytes(), PLACE, terms)
    assert bundle.revision == "r9"
    assert [file.name for file in bundle.files] == ["data.json", "rules/crm.rego"]
    assert json.loads(bundle.files[0].text) == DATA


def test_what_is_signed_here_is_proven_by_opa(tmp_path: Path) -> None:
    """A bundle of `authz policy bundle` passes OPA's own verification, and with another key it does not."""
    policy = PolicyFile(Path("crm.cedar"), POLICIES.encode(), "crm.cedar")
    key = BundleKey("release", frozenset({"ES256"}), SIGNER)
    (tmp_path / "ours.tar.gz").write_bytes(make_bundle([policy], "r1", key, {"iat": NOW}))
    verdicts = {}
    for name, signer in {"ours": SIGNER, "a stranger's": STRANGER}.items():
        (tmp_path / "key.pem").write_bytes(signer.as_pem(private=False))
        command = [
            opa_program(),
            "build",
            "-b",
            "ours.tar.gz",
            "--verification-key",
            "key.pem",
            "--signing-alg",
            "ES256",
        ]
        command += ["--verification-key-id", "release", "-o", "out.tar.gz"]
        verdicts[name] = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode
    assert verdicts["ours"] == 0
    assert verdicts["a stranger's"] != 0


def test_a_pinned_bundle_needs_no_signature() -> None:
    """The pin stands in the configuration, which is trusted; other bytes are refused whoever signed them."""
    content = packed({"crm.cedar": POLICIES.encode()})
    pinned = Terms(None, digest(content).removeprefix("sha256:"))
    assert read_bundle(content, PLACE, pinned).signature is None
    assert "pins sha256:" in refusal(Draft.of().archive(), pinned)


def test_with_keys_and_a_pin_both_must_hold(terms: Terms) -> None:
    """The pinned archive that nobody signed is refused, and the signed one that is not pinned."""
    unsigned, signed = packed({"crm.cedar": POLICIES.encode()}), Draft.of().archive()
    both = Terms(terms.keys, digest(unsigned).removeprefix("sha256:"))
    assert "it is not signed" in refusal(unsigned, both)
    assert "pins sha256:" in refusal(signed, both)
