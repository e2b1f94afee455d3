"""What a site's clients may send, and what becomes of it: each request with the reaction it must have. One reading
of where a message ends, the same for the origin as for us (RFC 9112); nothing that has two is passed on."""

import pytest
from origin import response
from test_site import Site

H = b"Host: a.example\r\n"
CLOSE = b"Connection: close\r\n"


def get(target=b"/", fields=b"", version=b"HTTP/1.1", host=H):
    return b"GET " + target + b" " + version + b"\r\n" + host + CLOSE + fields + b"\r\n"


def post(fields, body=b"", version=b"HTTP/1.1", host=H):
    return b"POST / " + version + b"\r\n" + host + CLOSE + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# Refused: (name, bytes, status). The origin sees nothing of them, and the connection ends.
REFUSED = [
    # Where the body ends (RFC 9112 section 6).
    ("length and coding", post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    ("coding and length", post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"), 400),
    ("two lengths that differ", post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"abcdef"), 400),
    ("two lengths that agree", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"abcde"), 400),
    ("a list of lengths", post(b"Content-Length: 5, 5\r\n", b"abcde"), 400),
    ("a length with a plus", post(b"Content-Length: +5\r\n", b"abcde"), 400),
    ("a negative length", post(b"Content-Length: -5\r\n", b"abcde"), 400),
    ("a hexadecimal length", post(b"Content-Length: 0x5\r\n", b"abcde"), 400),
    ("a length with letters", post(b"Content-Length: 5a\r\n", b"abcde"), 400),
    ("a length with a blank inside", post(b"Content-Length: 5 5\r\n", b"abcde"), 400),
    ("a fractional length", post(b"Content-Length: 5.0\r\n", b"abcde"), 400),
    ("an empty length", post(b"Content-Length:\r\n", b"abcde"), 400),
    ("a length beyond 64 bits", post(b"Content-Length: 99999999999999999999\r\n", b"abcde"), 400),
    ("a length that wraps", post(b"Content-Length: 18446744073709551621\r\n", b"abcde"), 400),
    ("a length over the limit", post(b"Content-Length: 99999999999\r\n", b"abcde"), 413),
    ("a quoted length", post(b'Content-Length: "5"\r\n', b"abcde"), 400),
    ("coding in HTTP/1.0", post(CHUNKED, b"0\r\n\r\n", b"HTTP/1.0"), 400),
    ("coding twice", post(CHUNKED + CHUNKED, b"0\r\n\r\n"), (400, 501)),
    ("coding twice in a list", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), (400, 501)),
    ("an unknown coding", post(b"Transfer-Encoding: x\r\n", b"0\r\n\r\n"), 501),
    ("gzip and chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    ("chunked not last", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), (400, 501)),
    ("identity", post(b"Transfer-Encoding: identity\r\n", b""), 501),
    ("identity and a length", post(b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n", b"abc"), 400),
    ("an empty coding", post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), 501),
    ("a quoted coding", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 501),
    ("a coding with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), 501),
    ("a coding with a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), (400, 501)),
    ("a coding with a NUL", post(b"Transfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"), 400),
    ("a coding with a blank before the colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    ("a length with a blank before the colon", post(b"Content-Length : 5\r\n", b"abcde"), 400),
    ("a folded coding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400),
    ("a length hidden by a fold", post(b"X: y\r\n Content-Length: 5\r\n", b"abcde"), 400),
    ("xchunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 501),
    ("chunked with a bare CR", post(b"Transfer-Encoding: chunked\r\r\n", b"0\r\n\r\n"), 400),
    # Chunks (section 7.1).
    ("a chunk size that is no number", post(CHUNKED, b"x\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk size with 0x", post(CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk size with a plus", post(CHUNKED, b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a negative chunk size", post(CHUNKED, b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk size beyond 64 bits", post(CHUNKED, b"11111111111111111\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk over the limit", post(CHUNKED, b"ffffffffff\r\nabc"), 413),
    ("a chunk size with a blank before it", post(CHUNKED, b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    ("an empty chunk size", post(CHUNKED, b"\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk that is too long", post(CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    ("a chunk that ends in LF", post(CHUNKED, b"3\r\nabc\n0\r\n\r\n"), 400),
    ("a chunk that ends in CR", post(CHUNKED, b"3\r\nabc\r0\r\n\r\n"), 400),
    ("a chunk size that ends in LF", post(CHUNKED, b"3\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk size that ends in a bare CR", post(CHUNKED, b"3\rabc\r\n0\r\n\r\n"), 400),
    ("a chunk extension with a bare LF", post(CHUNKED, b"3;x\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk extension with a NUL", post(CHUNKED, b"3;x\x00\r\nabc\r\n0\r\n\r\n"), 400),
    ("a chunk extension over the limit", post(CHUNKED, b"3;" + b"x" * 40000 + b"\r\nabc\r\n0\r\n\r\n"), 431),
    ("trailers over the limit", post(CHUNKED, b"0\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n"), 431),
    # Lines (sections 2.2, 5).
    ("LF after the request line", b"GET / HTTP/1.1\n" + H + b"\r\n", 400),
    ("LF after a field", b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    ("LF only", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("LF CR", b"GET / HTTP/1.1\n\rHost: x\n\r\n\r", 400),
    ("a bare CR in a value", get(fields=b"X: a\rb\r\n"), 400),
    ("a bare CR at the line's end", get(fields=b"X: a\r\rY: b\r\n"), 400),
    ("a NUL in a value", get(fields=b"X: a\x00b\r\n"), 400),
    ("a control byte in a value", get(fields=b"X: a\x01b\r\n"), 400),
    ("a DEL in a value", get(fields=b"X: a\x7fb\r\n"), 400),
    ("a folded value", get(fields=b"X: a\r\n b\r\n"), 400),
    ("a value folded with a tab", get(fields=b"X: a\r\n\tb\r\n"), 400),
    ("a blank before the first field", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    ("a blank in a name", get(fields=b"X Y: a\r\n"), 400),
    ("a tab before the colon", get(fields=b"X\t: a\r\n"), 400),
    ("a blank before the colon", get(fields=b"X : a\r\n"), 400),
    ("no colon", get(fields=b"X\r\n"), 400),
    ("no name", get(fields=b": a\r\n"), 400),
    ("a NUL in a name", get(fields=b"X\x00Y: a\r\n"), 400),
    ("a high byte in a name", get(fields=b"X\xe9: a\r\n"), 400),
    ("a quote in a name", get(fields=b'X"Y: a\r\n'), 400),
    ("a parenthesis in a name", get(fields=b"X(Y): a\r\n"), 400),
    ("a slash in a name", get(fields=b"X/Y: a\r\n"), 400),
    ("brackets in a name", get(fields=b"X[0]: a\r\n"), 400),
    ("a name over the limit", get(fields=b"X" * 40000 + b": a\r\n"), 431),
    ("a value over the limit", get(fields=b"X: " + b"a" * 40000 + b"\r\n"), 431),
    ("too many fields", get(fields=b"X: y\r\n" * 200), 431),
    ("all fields over the limit", get(fields=(b"X: " + b"y" * 900 + b"\r\n") * 50), 431),
    # The request line (section 3).
    ("no target", b"GET HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("no version", b"GET /\r\n" + H + b"\r\n", (400, 505)),
    ("HTTP/0.9", b"GET /\r\n\r\n", (400, 505)),
    ("two blanks before the target", b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("two blanks before the version", b"GET /  HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a tab before the version", b"GET /\tHTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a blank before the method", b" GET / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a blank after the version", b"GET / HTTP/1.1 \r\n" + H + b"\r\n", 400),
    ("a blank in the target", b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a lower-case version", b"GET / http/1.1\r\n" + H + b"\r\n", 400),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\n" + H + b"\r\n", 505),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\n" + H + b"\r\n", (400, 505)),
    ("HTTP/11", b"GET / HTTP/11\r\n" + H + b"\r\n", (400, 505)),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\n" + H + b"\r\n", (400, 505)),
    ("HTTP/3.0", b"GET / HTTP/3.0\r\n" + H + b"\r\n", 505),
    ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    ("ICE", b"GET / ICE/1.0\r\n" + H + b"\r\n", 400),
    ("RTSP", b"GET / RTSP/1.0\r\n" + H + b"\r\n", 400),
    ("an unknown method", b"FROB / HTTP/1.1\r\n" + H + b"\r\n", 501),
    ("a lower-case method", b"get / HTTP/1.1\r\n" + H + b"\r\n", 501),
    ("a method with a bracket", b"G<T / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("CONNECT", b"CONNECT a.example:80 HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    ("bytes of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("a target over the limit", get(b"/" + b"a" * 9000), 414),
    ("a target with a NUL", get(b"/a\x00b"), 400),
    ("a target with a high byte", get(b"/\xc3\xa9"), 400),
    ("a target with a control byte", get(b"/a\x1fb"), 400),
    ("a target with a DEL", get(b"/a\x7fb"), 400),
    ("a target with a fragment", get(b"/a#b"), 400),
    ("a target without a slash", get(b"a"), 400),
    ("* to GET", get(b"*"), 400),
    ("a target of another scheme", get(b"ftp://a.example/"), 400),
    ("an authority with a user", get(b"http://u@a.example/"), 400),
    ("an authority with a space", get(b"http://a%20b/"), 400),
    ("an empty authority", get(b"http:///x"), 400),
    # Host (section 3.2).
    ("no Host", get(host=b""), 400),
    ("two Hosts", get(host=H + H), 400),
    ("two Hosts that differ", get(host=H + b"Host: b.example\r\n"), 400),
    ("an empty Host", get(host=b"Host:\r\n"), 400),
    ("a Host with a path", get(host=b"Host: a.example/x\r\n"), 400),
    ("a Host with a user", get(host=b"Host: u@a.example\r\n"), 400),
    ("a Host with a blank", get(host=b"Host: a b\r\n"), 400),
    ("a list of Hosts", get(host=b"Host: a.example, b.example\r\n"), 400),
    ("a Host with a port that is none", get(host=b"Host: a.example:x\r\n"), 400),
    ("a Host with a port too long", get(host=b"Host: a.example:123456\r\n"), 400),
    ("a Host with a query", get(host=b"Host: a.example?x\r\n"), 400),
    ("a Host with a quote", get(host=b'Host: "a"\r\n'), 400),
    ("a Host with a high byte", get(host=b"Host: \xc3\xa9\r\n"), 400),
    ("a Host with an open bracket", get(host=b"Host: [::1\r\n"), 400),
    ("a Host with a percent sign", get(host=b"Host: a%2eb\r\n"), 400),
    ("no Host in HTTP/1.0", get(host=b"", version=b"HTTP/1.0"), 400),
]

# Passed on: (name, bytes, what the origin must see: method, target, body, some fields).
FORWARDED = [
    ("a plain GET", get(b"/f1"), ("GET", "/f1", b"", {"host": "a.example"})),
    ("empty lines before the request", b"\r\n\r\n" + get(b"/f2"), ("GET", "/f2", b"", {})),
    ("an absolute target: it wins over Host", get(b"http://b.example/f3?q"),
     ("GET", "/f3?q", b"", {"host": "b.example"})),
    ("an absolute target without a path", get(b"http://c.example"), ("GET", "/", b"", {"host": "c.example"})),
    ("a length of 5", post(b"Content-Length: 5\r\n", b"abcde"), ("POST", "/", b"abcde", {"content-length": "5"})),
    ("a length with zeros", post(b"Content-Length: 005\r\n", b"abcde"), ("POST", "/", b"abcde", {})),
    ("chunks", post(CHUNKED, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
     ("POST", "/", b"abcde", {"transfer-encoding": "chunked", "content-length": None})),
    ("chunks in capitals", post(b"Transfer-Encoding: Chunked\r\n", b"A\r\n0123456789\r\n0\r\n\r\n"),
     ("POST", "/", b"0123456789", {})),
    ("a chunk extension: it ends here", post(CHUNKED, b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), ("POST", "/", b"abc", {})),
    ("a trailer: it ends here", post(CHUNKED, b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"), ("POST", "/", b"abc", {"x": None})),
    ("a folded trailer: it ends here, and so does its request",
     post(CHUNKED, b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"), ("POST", "/", b"abc", {"x": None})),
    ("no length: no body", post(b""), ("POST", "/", b"", {})),
    ("blanks around a value", get(b"/f4", b"X: \t a b \t\r\n"), ("GET", "/f4", b"", {"x": "a b"})),
    ("an empty value", get(b"/f5", b"X:\r\n"), ("GET", "/f5", b"", {"x": ""})),
    ("high bytes in a value", get(b"/f6", b"X: \xe9\r\n"), ("GET", "/f6", b"", {"x": "\xe9"})),
    ("odd but allowed bytes in a name", get(b"/f7", b"X!#$%&'*+-.^_`|~9: y\r\n"),
     ("GET", "/f7", b"", {"x!#$%&'*+-.^_`|~9": "y"})),
    ("fields that Connection lists end here", get(b"/f8", b"Connection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\n"),
     ("GET", "/f8", b"", {"x-hop": None, "x-end": "2", "connection": None})),
    ("Keep-Alive, TE, Proxy-Connection, Upgrade end here",
     get(b"/f9", b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade: foo\r\n"),
     ("GET", "/f9", b"", {"keep-alive": None, "te": None, "proxy-connection": None, "upgrade": None})),
    ("Proxy-Authorization ends here", get(b"/f10", b"Proxy-Authorization: Basic x\r\n"),
     ("GET", "/f10", b"", {"proxy-authorization": None})),
    ("dot segments stay as they are", get(b"/a/../f11/./%2e%2e/x"), ("GET", "/a/../f11/./%2e%2e/x", b"", {})),
    ("two slashes stay as they are", get(b"//f12//x"), ("GET", "//f12//x", b"", {})),
    ("percent escapes stay as they are", get(b"/f13%2F%61%00"), ("GET", "/f13%2F%61%00", b"", {})),
    ("a question mark without a query stays", get(b"/f14?"), ("GET", "/f14?", b"", {})),
    ("* to OPTIONS", b"OPTIONS * HTTP/1.1\r\n" + H + CLOSE + b"\r\n", ("OPTIONS", "*", b"", {})),
    ("X-Forwarded-For of a client is not believed", get(b"/f15", b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6\r\n"),
     ("GET", "/f15", b"", {"x-forwarded-for": "127.0.0.1", "forwarded": None})),
    ("a GET with a body is not cached", get(b"/f16", b"Content-Length: 3\r\n") + b"abc",
     ("GET", "/f16", b"abc", {"content-length": "3"})),
    ("HTTP/1.0 with a Host", get(b"/f17", version=b"HTTP/1.0"), ("GET", "/f17", b"", {})),
    ("a Host with a port", get(b"/f18", host=b"Host: a.example:8080\r\n"),
     ("GET", "/f18", b"", {"host": "a.example:8080"})),
    ("a Host of IPv6", get(b"/f19", host=b"Host: [::1]:80\r\n"), ("GET", "/f19", b"", {"host": "[::1]:80"})),
    ("Expect is met here", post(b"Expect: 100-continue\r\nContent-Length: 1\r\n", b"a"),
     ("POST", "/", b"a", {"expect": None})),
    ("Via grows", get(b"/f20", b"Via: 1.0 x\r\n"), ("GET", "/f20", b"", {"via": "1.0 x, 1.1 cachetastic"})),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("malformed"), lambda request, _: response("ok", Cache_Control="no-store"),
              route="keepalive = 0;") as made:
        yield made


def status_of(answer):
    if answer.startswith(b"HTTP/1.1 100"):
        answer = answer.split(b"\r\n\r\n", 1)[1]
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def test_there_are_enough():
    assert len(REFUSED) >= 120


@pytest.mark.parametrize("name,data,status", REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(site, name, data, status):
    seen = len(site.origin.requests)
    got = status_of(site.raw(data, shut=True))
    assert got in (status if isinstance(status, tuple) else (status,))
    # A body that turns out malformed when its head was passed on already: the origin must not take it for whole.
    for request in site.origin.requests[seen:]:
        raise AssertionError(f"the origin took it for {request.method} {request.path} {request.body}")


@pytest.mark.parametrize("name,data,seen", FORWARDED, ids=[case[0] for case in FORWARDED])
def test_forwarded(site, name, data, seen):
    method, path, body, fields = seen
    before = len(site.origin.requests)
    assert status_of(site.raw(data, shut=True)) == 200
    request, = site.origin.requests[before:]
    assert (request.method, request.path, request.body) == (method, path, body)
    for name, value in fields.items():
        assert request.headers.get(name) == value, name


def test_nothing_hides_behind_a_refused_request(site):
    """What follows on the connection is not taken for a request."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"
    for name, data, _ in REFUSED:
        site.raw(data + hidden, shut=True)
    assert "/hidden" not in site.origin.paths()
