"""Other protocols through the site: WebSocket by Python's websockets, and what must not become a tunnel."""

import asyncio
import os
import signal
import socket
import threading
import time

import pytest
import websockets
from authority import Authority
from harness import SLOW, wait_until
from origin import Origin, response
from test_site import Site


class Echo:
    """A WebSocket server that says everything twice: once as it is, once reversed."""

    def __init__(self, tls=None):
        self.paths, self.open = [], 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.tls = tls
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.serve())

    async def serve(self):
        self.end = self.loop.create_future()
        async with websockets.serve(self.talk, "127.0.0.1", 0, ssl=self.tls, max_size=None, ping_interval=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.end

    async def talk(self, socket_, path=None):
        self.paths.append(path if path is not None else socket_.path)
        self.open += 1
        try:
            async for message in socket_:
                if message == "bye":
                    await socket_.close(4001, "as you wish")
                    return
                await socket_.send(message)
                await socket_.send(message[::-1])
        except websockets.ConnectionClosed:
            pass
        finally:
            self.open -= 1

    def stop(self):
        self.loop.call_soon_threadsafe(self.end.set_result, None)
        self.thread.join(10)


@pytest.fixture
def tunnel(tmp_path):
    made = []

    def make(tls=None, **options):
        echo = Echo(tls)
        s = Site(tmp_path / str(len(made)), lambda *_: None, origins=[echo.url], **options)
        s.echo = echo
        made.append(s)
        return s

    yield make
    for s in made:
        s.echo.stop()
        s.__exit__()


def connect(s, path="/chat", **options):
    return websockets.connect(f"ws://127.0.0.1:{s.daemon.port}{path}", max_size=None, ping_interval=None, **options)


def handshake(protocol="websocket", path="/chat"):
    return (f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()


async def exchange(s, sizes=(1, 126, 70_000, 3_000_000)):
    async with connect(s, "/chat?room=1") as ws:
        for size in sizes:
            message = os.urandom(size)
            await ws.send(message)
            assert await ws.recv() == message
            assert await ws.recv() == message[::-1]
        await ws.send("bye")
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
        assert (ws.close_code, ws.close_reason) == (4001, "as you wish")


def test_websocket(tunnel):
    s = tunnel()
    asyncio.run(exchange(s))
    assert s.echo.paths == ["/chat?room=1"]
    assert s.daemon.stats()["origins"][0]["up"]


def test_websocket_over_tls_to_the_origin(tunnel, tmp_path):
    authority = Authority(tmp_path / "authority")
    s = tunnel(tls=authority.context("IP:127.0.0.1"), route=f'tls_ca_file = "{authority.ca}";')
    asyncio.run(exchange(s))


def test_many_at_once_and_a_page_beside_them(tunnel):
    s = tunnel(workers=2)

    async def many():
        await asyncio.gather(*(exchange(s, sizes=(10, 100_000)) for _ in range(30)))

    asyncio.run(many())
    wait_until(lambda: s.echo.open == 0, what="every tunnel closed")
    assert s.ask("/")[0] == 426  # no WebSocket request: as the server answers it


def test_what_the_server_answers_with_101(tunnel):
    s = tunnel()
    with s.daemon.connect(s.daemon.port) as client:
        client.sendall(handshake())
        head = client.recv(4096)
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 101 ")
    assert lines.count(b"Connection: Upgrade") == 1 and lines.count(b"Upgrade: websocket") == 1
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
    assert not any(line.lower().startswith((b"content-length", b"transfer-encoding")) for line in lines)
    # The client is gone without a word: so is the tunnel.
    wait_until(lambda: s.echo.open == 0, what="the tunnel closed")


def test_a_silent_tunnel_is_closed(tunnel):
    s = tunnel(route='tunnel_idle = "1s";', top='limits = {{ http_stall = "300ms"; }};')

    async def talk():
        async with connect(s) as ws:
            for _ in range(4):  # a word of either side keeps it open, longer than http_stall
                await asyncio.sleep(0.6)
                await ws.send("x")
                await ws.recv()
                await ws.recv()
            before = time.monotonic()
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            assert 0.8 < time.monotonic() - before < 3 * SLOW

    asyncio.run(talk())
    assert s.daemon.stats()["origins"][0]["up"]


def test_there_is_a_limit(tunnel):
    s = tunnel(top="limits = {{ tunnels = 2; }};")

    async def talk():
        async with connect(s), connect(s):
            with pytest.raises(websockets.InvalidStatusCode) as refused:
                async with connect(s):
                    pass
            assert refused.value.status_code == 503
        for _ in range(50):
            try:
                async with connect(s):
                    return
            except websockets.InvalidStatusCode:
                await asyncio.sleep(0.1)
        raise AssertionError("no tunnel after the others were closed")

    asyncio.run(talk())


def test_the_server_goes_away(tunnel):
    s = tunnel()

    async def talk():
        async with connect(s) as ws:
            await ws.send("x")
            await ws.recv()
            s.echo.loop.call_soon_threadsafe(s.echo.end.set_result, None)
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await asyncio.wait_for(ws.recv(), 10 * SLOW)

    asyncio.run(talk())
    s.echo.stop = lambda: None


def test_a_drain_does_not_wait_for_ever(tunnel):
    s = tunnel(top='limits = {{ drain_timeout = "1s"; }};')
    with s.daemon.connect(s.daemon.port) as client:
        client.sendall(handshake())
        assert b" 101 " in client.recv(4096)
        before = time.monotonic()
        s.daemon.process.send_signal(signal.SIGQUIT)
        s.daemon.process.wait(20 * SLOW)
        assert time.monotonic() - before < 8 * SLOW
    s.daemon.start()


@pytest.mark.parametrize("protocol, route", [("h2c", ""), ("websocket", 'upgrade = "";'),
                                             ("foo", 'upgrade = "bar";')])
def test_what_must_not_become_a_tunnel(tmp_path, protocol, route):
    with Site(tmp_path, lambda request, _: response("page", Cache_Control="no-store"), route=route) as s:
        got = s.raw(handshake(protocol).replace(b"keep-alive, ", b"close, "))
        assert got.startswith(b"HTTP/1.1 200 ")
        headers = s.origin.requests[0].headers
        assert "upgrade" not in headers and "connection" not in headers


def test_101_that_nobody_asked_for(tmp_path):
    def answer(request, _):
        return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nsmuggled"

    with Site(tmp_path, answer) as s:
        assert s.ask("/")[0] == 502
        # And one with another protocol than the one that was asked for.
        s.origin.answer = lambda request, _: answer(request, _).replace(b"websocket", b"h2c")
        assert s.raw(handshake().replace(b"keep-alive, ", b"close, ")).startswith(b"HTTP/1.1 502 ")


def test_bytes_behind_the_heads_are_not_lost(tmp_path):
    """Both sides talk before they have seen the other's head."""

    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhello")
        got = b""
        while len(got) < 1_000_000:
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
        connection.sendall(b"%d" % len(got))
        return None

    with Site(tmp_path, answer, route='upgrade = "raw";') as s:
        got = b""
        with socket.create_connection(("127.0.0.1", s.daemon.port), timeout=20 * SLOW) as client:
            client.sendall(handshake("raw") + b"x" * 1_000_000)
            while True:
                piece = client.recv(65536)
                if not piece:
                    break
                got += piece
        assert got.partition(b"\r\n\r\n")[2] == b"hello1000000"
