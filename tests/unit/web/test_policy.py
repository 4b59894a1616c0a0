"""The policy follows its file and its certificates, and no mistake replaces it."""

import contextlib
import os
import ssl
from pathlib import Path

import pytest

from sockmon.commands.cli import main
from sockmon.config.load import ConfigError
from sockmon.web.security.policy import PolicyFile
from tests.pki import Authority

HEADERS = "http_server_config: {headers: {X-Frame-Options: %s}}\n"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "web.yml"
    made.write_text(HEADERS % "deny")
    return made


def frame_options(file: PolicyFile) -> str:
    return file.policy.config.http_server_config.headers["X-Frame-Options"]


def test_reads_again_what_has_changed_and_only_then(path: Path) -> None:
    file = PolicyFile(path)
    first = file.policy
    assert not file.refresh()
    assert file.policy is first
    path.write_text(HEADERS % "sameorigin")
    assert file.refresh()
    assert not file.refresh()
    assert frame_options(file) == "sameorigin"


def test_sees_a_change_that_keeps_size_and_time(path: Path) -> None:
    path.write_text(HEADERS % "deny" + "# 1\n")
    file, before = PolicyFile(path), path.stat()
    path.write_text(HEADERS % "deny" + "# 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.refresh()


def test_sees_another_file_put_in_its_place(path: Path) -> None:
    # As Kubernetes does with what it mounts: a link that is turned.
    other, link = path.with_name("other"), path.with_name("link")
    other.write_text(HEADERS % "sameorigin")
    link.symlink_to(path)
    file = PolicyFile(link)
    turned = path.with_name("turned")
    turned.symlink_to(other)
    turned.rename(link)
    assert file.refresh()
    assert frame_options(file) == "sameorigin"


@pytest.mark.parametrize("mistake", ["tls_server_config: {}\n", "junk", "a: [", "\xff"])
def test_a_mistake_changes_nothing_and_is_told_once(path: Path, mistake: str) -> None:
    file = PolicyFile(path)
    before = file.policy
    path.write_bytes(mistake.encode("latin-1"))
    with pytest.raises(ConfigError):
        file.refresh()
    assert not file.refresh()
    assert file.policy is before
    path.write_text(HEADERS % "sameorigin")
    assert file.refresh()
    assert frame_options(file) == "sameorigin"


def test_a_file_that_is_gone_opens_nothing(path: Path) -> None:
    file = PolicyFile(path)
    before = file.policy
    path.unlink()
    with pytest.raises(ConfigError, match="cannot read it: No such file or directory"):
        file.refresh()
    assert file.policy is before
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        file.refresh()
    assert file.policy is before


def test_must_be_right_to_begin_with(path: Path) -> None:
    path.write_text("basic_auth_users: {john: doe}\n")
    with pytest.raises(ConfigError, match="expected a bcrypt hash"):
        PolicyFile(path)
    with pytest.raises(ConfigError, match="cannot read it"):
        PolicyFile(path.with_name("somefile"))


USERS = "basic_auth_users: {ops: $2y$10$2UXri9cIDdgeKjBo4Rlpx.U3ZLDV8X1IxKmsfOvhcM5oXQt/mLmXq}\n"
REQUIRE = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: authority.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example]
"""


@pytest.mark.component("openssl")
def test_a_file_that_is_being_written_opens_nothing(path: Path) -> None:
    Authority(path.parent).issue("server", "DNS:localhost")
    whole = REQUIRE + USERS
    path.write_text(whole)
    file = PolicyFile(path)
    demands = file.policy.config
    for end in range(len(whole)):
        path.write_text(whole[:end])
        with contextlib.suppress(ConfigError):
            file.refresh()
        assert file.policy.config == demands


@pytest.mark.component("openssl")
def test_says_what_only_a_restart_gives_up(path: Path) -> None:
    Authority(path.parent).issue("server", "DNS:localhost")
    path.write_text(REQUIRE + USERS)
    file = PolicyFile(path)
    for text, says in (
        (REQUIRE, "basic_auth_users was removed; only a restart turns it off"),
        (USERS, "tls_server_config was removed; only a restart turns it off"),
        (TLS + USERS, "client_auth_type RequireAndVerifyClientCert was removed; only a restart"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            file.refresh()
    path.write_text(TLS + USERS)
    assert PolicyFile(path).policy.tls is not None


@pytest.mark.component("openssl")
def test_follows_its_certificates(path: Path) -> None:
    authority = Authority(path.parent)
    made, key = authority.issue("server", "DNS:localhost")
    path.write_text(TLS)
    file = PolicyFile(path)
    first = file.policy
    assert first.tls is not None
    assert not file.refresh()

    renewed = Authority(path.parent, "renewed").issue("renewed-server", "DNS:localhost")
    renewed[0].rename(made)  # half of the pair
    with pytest.raises(ConfigError, match="no usable pair"):
        file.refresh()
    assert not file.refresh()
    assert file.policy is first
    renewed[1].rename(key)
    assert file.refresh()
    assert file.policy.tls is not None
    assert file.policy.tls.context is not first.tls.context


@pytest.mark.component("openssl")
def test_waits_for_a_certificate_that_the_file_names_before_it_is_there(path: Path) -> None:
    file = PolicyFile(path)
    path.write_text(TLS)
    with pytest.raises(ConfigError, match="No such file"):
        file.refresh()
    assert not file.refresh()
    Authority(path.parent).issue("server", "DNS:localhost")
    assert file.refresh()
    assert file.policy.tls is not None
    assert isinstance(file.policy.tls.context, ssl.SSLContext)


def test_check_config_tells_what_is_wrong_with_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--web.config.file", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: ok\n"
    config = path.with_name("sockmon.yaml")
    config.write_text("poll: {interval: 1s}\n")
    path.write_text("basic_auth_users: {john: doe}\n")
    assert main(["check-config", str(config), "--web.config.file", str(path)]) == 1
    told = capsys.readouterr()
    assert told.out == f"{config}: ok\n"
    assert told.err.startswith(f"{path}:1: basic_auth_users.john: expected a bcrypt hash")
    assert main(["check-config"]) == 2
    assert "FILE or --web.config.file is required" in capsys.readouterr().err
