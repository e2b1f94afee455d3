"""The command line: what is printed, where, and with which exit status."""

import os
import subprocess

import pytest

from harness import DAEMON, ROOT


def run(*argv, env=None):
    return subprocess.run([str(DAEMON), *argv], capture_output=True, text=True, timeout=30,
                          env={**os.environ, **(env or {})})


@pytest.fixture
def config_file(tmp_path):
    def write(text, name="test.conf"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_version():
    result = run("-V")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("cachetastic ")
    assert run("--version").stdout == result.stdout


def test_help_goes_to_standard_output():
    result = run("-h")
    assert (result.returncode, result.stderr) == (0, "")
    assert "--dump-config" in result.stdout


@pytest.mark.parametrize("argv", [["--nope"], ["stray"], ["-c"], ["--memory"], ["-V", "stray"]])
def test_a_wrong_command_line_is_refused(argv):
    result = run(*argv)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "cachetastic -h" in result.stderr



def test_a_good_file_is_said_to_be_good(config_file):
    path = config_file('workers = 2;\nlisten = ( { address = "unix:x"; } );\n')
    result = run("-t", "-c", path)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: ok\n", "")


def test_a_bad_file_is_said_with_its_line(config_file):
    path = config_file("workers = 2;\n\nlimits = { key = 5; };\n")
    result = run("-t", "-c", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{path}:3: limits.key: is a bare number; write a quoted size")


def test_a_bad_file_does_not_start(config_file):
    path = config_file("wrokers = 2;\n")
    result = run("-c", path)
    assert result.returncode == 1
    assert f"{path}:1: wrokers: unknown key" in result.stderr


def test_a_file_that_is_not_there():
    result = run("-t", "-c", "/nonexistent/x.conf")
    assert result.returncode == 1
    assert result.stderr == "cannot read /nonexistent/x.conf: No such file or directory\n"


@pytest.mark.parametrize("argv, message", [
    (["--memory", "1M"], "--memory: 1M is below the minimum, 4M"),
    (["--workers", "0x2"], "--workers: \"0x2\" cannot be read"),
    (["--http", "localhost:80"], "--http: "),
    (["--redis", "localhost"], "--redis: "),
])
def test_wrong_flags_are_named(argv, message):
    result = run(*argv)
    assert result.returncode == 1
    assert message in result.stderr


def test_the_dump_is_a_file_that_dumps_the_same(config_file):
    flags = ["--http", "[::1]:9000", "--socket", "a b\"c", "--redis", "r.example:1", "--redis-prefix", "",
             "--admin", "127.0.0.1:9001", "--memory", "8M", "--workers", "3"]
    first = run("--dump-config", *flags)
    assert first.returncode == 0
    path = config_file(first.stdout)
    assert run("-t", "-c", path).returncode == 0
    second = run("--dump-config", "-c", path)
    assert second.stdout == first.stdout


def test_the_dump_does_not_show_secrets(config_file, tmp_path):
    token = config_file("open-sesame\n", "token")
    path = config_file(f'api_token_file = "{token}";\nredis = {{ server = "r:1"; }};\n')
    result = run("--dump-config", "-c", path, env={"CACHETASTIC_REDIS_PASSWORD": "swordfish"})
    assert result.returncode == 0
    assert "open-sesame" not in result.stdout + result.stderr
    assert "swordfish" not in result.stdout + result.stderr
    assert "password is set" in result.stdout


def test_a_dump_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        result = subprocess.run([str(DAEMON), "--dump-config", "--workers", "1"], stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=30)
    assert result.returncode == 1
    assert "cannot print the configuration" in result.stderr


def test_the_installed_sample_is_good():
    sample = ROOT / "etc" / "cachetastic" / "cachetastic.conf.sample"
    assert run("-t", "-c", str(sample)).returncode == 0


def test_the_api_without_a_token_is_warned_about(config_file):
    assert "answers everyone on this machine" in run("-t", "--workers", "1").stderr
    path = config_file('listen = ( { address = "127.0.0.1:1"; protocol = "http"; } );')
    assert "refuses every client until api_token_file is set" in run("-t", "-c", path).stderr
    path = config_file('listen = ( { address = "127.0.0.1:1"; protocol = "resp"; } );')
    assert run("-t", "-c", path).stderr == ""
