"""`orthoedge bundle`, and what predict and verify do with a key."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.bundles.signature import read_key
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.settings import BundleTrust
from tests.helpers.hostile.mutations import contents, write
from tests.helpers.hostile.signers import KEY, PRIVATE, signed

ROOT = Path(__file__).parents[3]


@pytest.fixture
def keys(tmp_path):
    """The public key's file; the private one has its name without the ending."""
    assert main(["bundle", "keys", str(tmp_path / "maker")]) == 0
    return tmp_path / "maker.pub"


def test_signed_and_verified_by_the_command_line(small_bundle, tmp_path, keys, capsys):
    bundle = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    private = keys.with_suffix("")
    assert private.stat().st_mode & 0o777 == 0o600
    assert main(["bundle", "verify", str(bundle), "--key", str(keys)]) == 1
    assert main(["bundle", "sign", str(bundle), "--key", str(private)]) == 0
    assert main(["bundle", "verify", str(bundle), "--key", str(keys), "--oldest", "0"]) == 0
    assert main(["bundle", "verify", str(bundle), "--key", str(keys), "--oldest", "0.1"]) == 1
    assert main(["verify", str(bundle), "--key", str(keys), "--target", "portable"]) == 0
    signer = read_key(keys)
    assert read_bundle(bundle, trust=BundleTrust(public_key=signer)).sha256 == small_bundle.sha256
    assert set(contents(bundle)) == set(contents(small_bundle.path)) | {"signature.json"}
    said = "".join(capsys.readouterr())
    assert signer.hex() in said
    secrets = private.read_text().splitlines()[1:-1]
    assert secrets
    assert not any(line in said for line in secrets)
    # Signed again by somebody else: theirs takes its place.
    assert main(["bundle", "keys", str(tmp_path / "other")]) == 0
    assert main(["bundle", "sign", str(bundle), "--key", str(tmp_path / "other")]) == 0
    assert main(["bundle", "verify", str(bundle), "--key", str(keys)]) == 1
    assert "and not by" in capsys.readouterr().out
    assert main(["verify", str(bundle), "--key", str(keys)]) == 1


def test_predict_keeps_to_the_pinned_key(small_bundle, tmp_path, keys, capsys):
    for extra in ([], ["--jobs", "2"]):
        words = ["predict", "x.png", "--bundle", str(small_bundle.path), "--key", str(keys), *extra]
        assert main(words) == 2
        assert "signature.json is missing: it must be signed by" in capsys.readouterr().err


def test_keys_are_never_replaced(keys, tmp_path, capsys):
    before = contents(tmp_path)
    assert main(["bundle", "keys", str(tmp_path / "maker")]) == 2
    keys.with_suffix("").unlink()
    assert main(["bundle", "keys", str(tmp_path / "maker")]) == 2
    assert capsys.readouterr().err.count("exists already") == 2
    assert contents(tmp_path) == {"maker.pub": before["maker.pub"]}


def test_what_cannot_sign_is_one_line(small_bundle, tmp_path, keys, capsys):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    kinds = {
        "encrypted": (PRIVATE, s.BestAvailableEncryption(b"secret")),
        "curve": (generate_private_key(SECP256R1()), s.NoEncryption()),
    }
    for name, (key, encryption) in kinds.items():
        pem = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption)
        (tmp_path / name).write_bytes(pem)
    bundle = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    archive = shutil.make_archive(tmp_path / "packed", "zip", bundle)
    before = contents(bundle)
    for target, key, reason in (
        (bundle, keys, "no private key in PEM"),
        (bundle, tmp_path / "encrypted", "or an encrypted one"),
        (bundle, tmp_path / "curve", "not an Ed25519 key"),
        (bundle, tmp_path / "absent", "No such file"),
        (archive, keys.with_suffix(""), "sign the folder, then pack it"),
    ):
        assert main(["bundle", "sign", str(target), "--key", str(key)]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert contents(bundle) == before


def test_without_cryptography_a_signed_bundle_is_read_only_where_no_key_is_pinned(
    small_bundle, tmp_path, keys
):
    path = write(signed(contents(small_bundle.path)), tmp_path / "bundle", "folder")
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        f"sys.path.insert(0, {str(ROOT / '.typing')!r})\n"
        "from pathlib import Path; from orthoedge.cli.main import main\n"
        "from orthoedge.runtime import BundleTrust, MissingDependency, read_bundle\n"
        f"bundle = read_bundle(Path({str(path)!r}))\n"
        f"trust = BundleTrust(bytes.fromhex({KEY.hex()!r}))\n"
        "pinned = lambda: read_bundle(bundle.path, trust=trust)\n"
        "for check in (lambda: bundle.check_trust(trust), pinned):\n"
        "    try: check()\n"
        "    except MissingDependency as error: print(error.args[1])\n"
        "print(bundle.signer)\n"
        f"sys.exit(main(['bundle', 'sign', {str(path)!r}, '--key', {str(keys)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "trust\ntrust\nNone\n")
    assert "pip install 'orthoedge[trust]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_bundle_is_not_signed(small_bundle, tmp_path, keys, capsys):
    bundle = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    (bundle / "MODEL_CARD.md").write_text("another")
    assert main(["bundle", "sign", str(bundle), "--key", str(keys.with_suffix(""))]) == 2
    assert "MODEL_CARD.md is not the file" in capsys.readouterr().err
    assert not (bundle / "signature.json").exists()


@pytest.mark.parametrize("change", ["private", "cut", "letters", "empty", "binary", "long"])
def test_a_file_without_a_public_key_is_told(keys, tmp_path, change):
    text = keys.read_text()
    changed = {
        "private": keys.with_suffix("").read_text(),
        "cut": text[:60],
        "letters": text.replace("M", "?", 1),
        "empty": "",
        "binary": bytes(range(256)).decode("latin-1"),
        "long": re.sub("\n-", "AAAA\n-", text, count=1),
    }[change]
    (tmp_path / "other").write_text(changed)
    with pytest.raises(ConfigError, match="other: no public Ed25519 key in PEM"):
        read_key(tmp_path / "other")
