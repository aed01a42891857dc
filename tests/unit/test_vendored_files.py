"""Files of others are what their makers published, down to the byte."""

import hashlib
import tomllib
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"
KNOWN = tomllib.loads((VENDOR / "vendor.toml").read_text())


def test_every_vendored_file_has_the_hash_that_was_written_down():
    wanted = {name: digest for package in KNOWN.values() for name, digest in package["sha256"].items()}
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.toml"
    }
    assert found == wanted


def test_every_package_says_its_version_licence_and_origin():
    for name, package in KNOWN.items():
        assert package["version"] and package["licence"] and package["integrity"].startswith("sha512-"), name
        assert any("LICENSE" in file for file in package["sha256"]), name
