"""Where a model is found: locally, in the cache, or on a hub that may not be there."""

import contextlib
import fnmatch
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time

import huggingface_hub
import pytest
from huggingface_hub import constants, errors
from huggingface_hub.utils import get_session

from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.hub import download, silence
from transformers_jax.hub.download import resolve

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def closed(monkeypatch):
    """An endpoint without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return endpoint


def cache(folder, files):
    """A cache as the hub's client lays it out, with one revision of one model."""
    model = folder / "models--some--model"
    snapshot = model / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION)
    for name, text in files.items():
        (snapshot / name).write_text(text)
    return snapshot


WHOLE = {"config.json": "{}", "model.safetensors": "weights"}


def test_a_local_directory_wins(tmp_path, monkeypatch, closed):
    (tmp_path / "some" / "model" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("some/model").samefile(tmp_path / "some" / "model")
    assert resolve(tmp_path / "some").samefile(tmp_path / "some")
    assert resolve("some/model", subfolder="sub").name == "sub"
    for outside in ("..", "nowhere"):
        with pytest.raises(ValueError, match="no subfolder"):
            resolve("some/model", subfolder=outside)


@pytest.mark.parametrize("path", ["./gone/model", "/gone", "a/b/c", "../x", "~/gone", "", "a b"])
def test_a_path_that_does_not_exist_says_so(path, closed):
    with pytest.raises(ValueError, match="does not exist"):
        resolve(path)


def test_a_cached_model_needs_no_network(tmp_path, closed):
    snapshot = cache(tmp_path, WHOLE)
    assert resolve("some/model", cache_dir=tmp_path).samefile(snapshot)
    assert resolve("some/model", cache_dir=tmp_path, revision=REVISION).samefile(snapshot)
    assert resolve("some/model", cache_dir=tmp_path, local_files_only=True).samefile(snapshot)


def test_a_cached_model_of_flax_needs_no_network_either(tmp_path, closed):
    snapshot = cache(tmp_path, {"config.json": "{}", "flax_model.msgpack": "weights"})
    assert resolve("some/model", cache_dir=tmp_path).samefile(snapshot)


def test_flax_weights_are_fetched_only_where_there_are_no_safetensors(tmp_path, monkeypatch):
    hub = {"both/model": {**WHOLE, "flax_model.msgpack": ""}, "flax/model": {"config.json": "{}"}}
    hub["flax/model"]["flax_model-00001-of-00001.msgpack"] = ""
    requests = []

    def snapshot_download(model, *, allow_patterns, local_files_only=False, **rest):
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not cached")
        folder = tmp_path / model
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in hub[model].items():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in allow_patterns):
                (folder / name).write_text(text)
        requests.append(model)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(download, "_without_answer", lambda url: "")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert sorted(os.listdir(resolve("both/model"))) == sorted(WHOLE)
    assert sorted(os.listdir(resolve("flax/model"))) == sorted(hub["flax/model"])
    assert requests == ["both/model", "flax/model", "flax/model"]


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}"},
        {"model.safetensors": "weights"},
        {"config.json": "{}", "model.safetensors.index.json": '{"a": "x.safetensors"}'},
    ],
)
def test_half_a_model_in_the_cache_is_not_a_model(files, tmp_path, closed):
    cache(tmp_path, files)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        resolve("some/model", cache_dir=tmp_path)


def test_an_unreachable_hub_says_so_at_once_in_one_line(tmp_path, closed):
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        resolve("some/model", cache_dir=tmp_path)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert "\n" not in message
    for text in (closed, "HF_HUB_OFFLINE=1", str(tmp_path), "some/model"):
        assert text in message


@pytest.fixture
def served(monkeypatch, closed):
    """served(answer): an endpoint each of whose connections `answer(connection)` handles."""
    servers = []

    def serve(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def accept():
            with contextlib.suppress(OSError):  # closed at the end of the test
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        files = "{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)  # both are read at import
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{files}")

    yield serve
    for server in servers:
        server.close()


def nothing(connection):
    connection.recv(2**16)
    time.sleep(20)


def trickle(connection):
    connection.recv(2**16)
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\n" * 9:
            connection.send(bytes([byte]))
            time.sleep(0.3)


def garbage(connection):
    connection.recv(2**16)
    connection.sendall(b"what is this?\r\n\r\n")
    connection.close()


def portal(connection):
    """What a hotel's network answers."""
    connection.recv(2**16)
    text = b"<html>Welcome</html>"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    connection.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (nothing, "cannot be reached (no answer within 1 s); HF_HUB_OFFLINE=1"),
        (trickle, "cannot be reached (no answer within 1 s); HF_HUB_OFFLINE=1"),
        (garbage, "cannot be reached (RemoteProtocolError: "),
        (portal, "some/model could not be downloaded ("),
    ],
)
def test_a_hub_that_does_not_answer_as_one_is_one_sentence(answer, message, served, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 1.0)
    served(answer)
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        resolve("some/model")
    assert time.monotonic() - start < 5
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 8}


def hub(speaks=lambda request, count: True, pause=0.0):
    """What answers as the hub does, with a pause before each 14 bytes of a file. It falls silent
    when `speaks(request, bytes sent of its answer)` says so; of a head 0 are sent."""
    listed = [{"rfilename": name} for name in FILES]
    about = json.dumps({"id": "some/model", "sha": REVISION, "siblings": listed}).encode()
    tree = [{"type": "file", "path": n, "size": len(x), "oid": n} for n, x in FILES.items()]

    def answer(connection):
        while request := _received(connection):
            method, path, *_ = request.split()
            name = path.split("?")[0].rsplit("/", 1)[1]
            body = json.dumps(tree).encode() if "/tree/" in path else FILES.get(name, about)
            if not speaks(f"{method} {path}", 0):
                time.sleep(60)
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "{name}"\r\n'
            connection.sendall(f"{head}X-Repo-Commit: {REVISION}\r\n\r\n".encode())
            for n in range(0, len(body), 14) if method == "GET" else ():
                time.sleep(pause if name in FILES else 0)
                if not speaks(f"{method} {path}", n + 14):
                    time.sleep(60)
                with contextlib.suppress(OSError):  # the client has closed it
                    connection.sendall(body[n : n + 14])

    return answer


def _received(connection):
    with contextlib.suppress(OSError):
        return connection.recv(2**16).decode()


def test_a_download_that_is_slow_is_waited_for(served, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "TIMEOUT", 1.0)
    monkeypatch.setattr(silence, "METADATA", 1.0)
    monkeypatch.setattr(silence, "BODY", 1.0)
    served(hub(pause=0.6))
    start = time.monotonic()
    folder = resolve("some/model", cache_dir=tmp_path)
    assert time.monotonic() - start > 1.5  # longer than each of the limits
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert not any(get_session().event_hooks["response"])  # the client is as it was


STALLS = {
    "metadata": lambda request, count: not request.startswith("GET /api/models/some/model/rev"),
    "half of metadata": lambda request, count: "/tree/" not in request or count < 20,
    "head of a file": lambda request, count: not request.startswith("HEAD"),
    "answer with a file": lambda request, count: "GET /some/model/resolve" not in request,
    "half of a file": lambda request, count: "GET /some/model/resolve" not in request or count < 40,
}


@pytest.mark.parametrize("what", STALLS)
def test_a_hub_that_falls_silent_is_one_sentence(what, served, monkeypatch, tmp_path, capfd):
    body = "a file" in what and "head" not in what
    monkeypatch.setattr(silence, "METADATA", 60.0 if body else 1.0)  # each has its own limit
    monkeypatch.setattr(silence, "BODY", 1.0 if body else 60.0)
    served(hub(STALLS[what]))
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        resolve("some/model", cache_dir=tmp_path)
    assert 0.9 < time.monotonic() - start < 3
    setting = "HF_HUB_DOWNLOAD_TIMEOUT" if body else "HF_HUB_ETAG_TIMEOUT"
    part = "no more of" if "half" in what else "no answer to"
    assert f"127.0.0.1 has sent {part} " in str(caught.value)
    assert f" for 1 s ({setting} sets another limit)" in str(caught.value)
    assert "\n" not in str(caught.value)
    for thread in threading.enumerate():  # Python waits for those of the client at its end
        if thread is not threading.current_thread() and thread.name.startswith("ThreadPool"):
            thread.join(3)
            assert not thread.is_alive()
    assert "Retrying" not in capfd.readouterr().err


def test_the_client_s_own_settings_set_the_limits_of_silence(monkeypatch):
    assert silence.METADATA < 5 <= silence.BODY <= 10
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "7")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "90")
    assert silence._limit_of(metadata=True) == (7.0, "HF_HUB_ETAG_TIMEOUT")
    assert silence._limit_of(metadata=False) == (90.0, "HF_HUB_DOWNLOAD_TIMEOUT")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_opens_no_socket(name, tmp_path):
    cache(tmp_path, WHOLE)
    code = """
        import socket, sys
        def refuse(*a, **k):
            raise AssertionError("a socket was opened")
        socket.create_connection = refuse
        socket.socket.connect = refuse
        from transformers_jax.hub.download import resolve
        print(resolve("some/model", cache_dir=sys.argv[1]))
        try:
            resolve("other/model", cache_dir=sys.argv[1])
        except ConnectionError as error:
            assert "HF_HUB_OFFLINE" in str(error), error
        else:
            raise SystemExit("found what is not there")
        assert "torch" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        env=os.environ | {name: "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert REVISION in done.stdout


def test_importing_costs_no_client(tmp_path):
    code = "import sys, transformers_jax.hub.download; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_tokenizer_is_loaded_by_the_id_of_its_model(tmp_path, monkeypatch, closed):
    snapshot = cache(tmp_path, WHOLE)
    train_tokenizer("byte", [], 256).save(snapshot)
    tokenizer = load_tokenizer("some/model", cache_dir=tmp_path)
    assert tokenizer.decode(tokenizer.encode("a cat")) == "a cat"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="neither a local directory nor completely in"):
        load_tokenizer("another/model", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="a hub id; int came"):
        load_tokenizer(3)
