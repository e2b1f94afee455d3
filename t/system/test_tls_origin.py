"""https origins: certificates, names, and bodies of every framing."""

import socket
import ssl
import time

import pytest
from authority import Authority
from harness import SLOW, wait_until
from origin import Origin, response
from test_site import FRESH, Site


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(tmp_path, authority):
    """A site whose origin speaks TLS with a certificate for these names."""
    made = []

    def make(names, answer=None, days=30, route="", url=None, ca=True, **options):
        context = authority.context(names, days) if isinstance(names, str) else names
        origin = Origin(answer or (lambda request, _: response("well", **FRESH)), tls=context)
        trust = f'tls_ca_file = "{authority.ca}";' if ca else ""
        s = Site(tmp_path / str(len(made)), lambda *_: None, origins=[(url or origin.url).format(port=origin.port)],
                 route=f'{trust} fail_count = 1000; {route}', **options)
        s.secure, s.context = origin, context
        made.append(s)
        return s

    yield make
    for s in made:
        s.__exit__()
        s.secure.stop()


def test_a_certificate_that_is_good(secure):
    s = secure("DNS:localhost", url="https://localhost:{port}")
    status, headers, body = s.ask("/")
    assert (status, body) == (200, b"well")
    assert "stored" in headers["Cache-Status"]
    assert "hit" in s.ask("/")[1]["Cache-Status"]
    assert s.context.asked == ["localhost"]
    for i in range(5):
        s.ask(f"/{i}")
    assert s.secure.accepted == 1  # kept alive


def test_an_address_is_a_name_too(secure):
    s = secure("IP:127.0.0.1")
    assert s.ask("/")[0] == 200
    assert s.context.asked == [None]  # SNI is for names (RFC 6066)


def test_a_name_of_the_routes_own(secure):
    s = secure("DNS:*.shop.example", route='tls_name = "www.shop.example";')
    assert s.ask("/")[0] == 200
    assert s.context.asked == ["www.shop.example"]


@pytest.mark.parametrize("names, options", [
    ("DNS:other.example", {"url": "https://localhost:{port}"}),  # for somebody else
    ("DNS:localhost", {}),                                       # the address is not in it
    ("IP:127.0.0.1", {"ca": False}),                             # by an authority nobody knows
    ("IP:127.0.0.1", {"days": -1}),                              # past its time
])
def test_certificates_that_are_not_good(secure, names, options):
    s = secure(names, **options)
    assert s.ask("/")[0] == 502
    assert s.secure.requests == []


def test_verification_can_be_off(secure):
    s = secure("DNS:other.example", ca=False, route="tls_verify = false;")
    assert s.ask("/")[0] == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused(secure, authority):
    context = authority.context("IP:127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    s = secure(context)
    assert s.ask("/")[0] == 502


def test_bodies_pass_through(secure):
    big = bytes(range(256)) * 20_000

    def answer(request, connection):
        if request.method == "POST":
            return response(request.body)
        if request.path == "/length":
            return response(big, **FRESH)
        if request.path == "/chunked":
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(big[i:i + 70_000]), big[i:i + 70_000])
                              for i in range(0, len(big), 70_000))
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n" + big)
        if request.path == "/close":
            connection.unwrap()  # the end, said by TLS itself
        return None

    s = secure("IP:127.0.0.1", answer)
    for path in ("/length", "/chunked", "/close"):
        assert s.ask(path)[2] == big
    assert s.ask("/", "POST", body=big)[2] == big
    assert s.ask("/", "POST", body=(big[i:i + 100_000] for i in range(0, len(big), 100_000)))[2] == big
    # An end that anyone could have made is none: the response is broken, and nothing is stored.
    for _ in range(2):
        try:
            got = s.raw(b"GET /cut HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        except OSError:
            got = b""
        assert not got.endswith(b"0\r\n\r\n")
    assert s.secure.paths().count("/cut") == 2


def test_what_is_no_tls(tmp_path, authority):
    plain = Origin(lambda request, _: response("plain"))
    with Site(tmp_path, lambda *_: None, origins=[plain.url.replace("http:", "https:")],
              route=f'tls_ca_file = "{authority.ca}";') as s:
        assert s.ask("/")[0] == 502
    plain.stop()


def test_a_handshake_that_does_not_end(tmp_path, authority):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        with Site(tmp_path, lambda *_: None, origins=[f"https://127.0.0.1:{silent.getsockname()[1]}"],
                  route='connect_timeout = "300ms";') as s:
            before = time.monotonic()
            assert s.ask("/")[0] in (502, 504)
            assert time.monotonic() - before < 3 * SLOW


def test_checks_of_https_servers(secure):
    s = secure("IP:127.0.0.1", route='health_path = "/up"; health_interval = "100ms";')
    wait_until(lambda: "/up" in s.secure.paths(), what="a check")
    assert s.daemon.stats()["origins"][0]["up"]
    assert s.secure.requests[0].headers["host"] == f"127.0.0.1:{s.secure.port}"


def test_a_file_that_has_no_authorities(tmp_path):
    with pytest.raises(AssertionError, match="tls_ca_file"):
        Site(tmp_path, lambda *_: None, origins=["https://127.0.0.1:1"], route='tls_ca_file = "/nowhere.pem";')
