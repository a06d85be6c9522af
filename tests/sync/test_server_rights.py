"""Who may do what at a server, and what nobody learns who must not."""

from __future__ import annotations

import base64
import http.client
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trustme

from artstore.errors import ArtstoreError, Denied, Invalid, MissingFile, MissingObject, Refused, Unreachable
from artstore.model.digest import Digest
from artstore.server.listening import Address, Certificate
from artstore.server.serving import serve
from artstore.storage.blobs import SMALL
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.hosting.tokens import Scope, create_token, find_token, list_tokens, revoke_token
from artstore.sync.http import tokens
from artstore.sync.http.connection import Connection
from artstore.sync.http.remote import HttpRemote
from artstore.sync.remotes import Settings, add_remote, open_remote
from artstore.sync.rounds import exchange
from tests.sync.serving import Served, served

LARGE = os.urandom(SMALL + 1)
Word = Callable[..., str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "server") as found:
        yield found


@pytest.fixture
def word(server: Served) -> Word:
    """Make a token of the server's."""

    def make(scope: Scope, project: str | None = None) -> str:
        return create_token(server.store.path, scope=scope, project=project, expires_s=None).token

    return make


@pytest.fixture
def secret(server: Served, word: Word, tmp_path: Path) -> Digest:
    """A blob that only the project `theirs` has."""
    with Store.init(tmp_path / "theirs") as store:
        (tmp_path / "secret").write_bytes(LARGE)
        store.put([tmp_path / "secret"], name="cats", type="dataset", project="theirs")
        _push(store, server, word("write", "theirs"), tmp_path)
    return Digest.of(LARGE)


def _push(store: Store, server: Served, token: str, folder: Path) -> None:
    (folder / "token").write_text(token + "\n")
    add_remote(store.path, "hub", server.url, upstream=True, join=True, token_file=folder / "token")
    report = exchange(store, "push")
    assert [] == [project.error for project in report.projects if project.error]


def test_without_a_token_nobody_is_let_in_once_there_is_one(server: Served, word: Word) -> None:
    assert [] == list(HttpRemote(Connection(server.url)).projects())
    token = word("read")

    for wrong in (None, "no-token", token[:-1], token[:-1] + "!", token.replace("artstore", "artshop")):
        with pytest.raises(Denied):
            list(HttpRemote(Connection(server.url, wrong)).projects())
    assert [] == list(HttpRemote(Connection(server.url, token)).projects())


def test_who_may_only_read_is_told_so_before_the_push(server: Served, word: Word, tmp_path: Path) -> None:
    """The server was fit, a dry run would have pushed, and the push was refused."""
    (tmp_path / "token").write_text(word("read"))
    with Store.init(tmp_path / "mine") as store:
        (tmp_path / "x").write_bytes(b"x")
        store.put([tmp_path / "x"], name="cats", type="dataset")
        noted = add_remote(store.path, "hub", server.url, upstream=True, join=True, token_file=tmp_path / "token")
        exchange(store, "pull")
        codes: list[str] = []
        for dry_run in (True, False):
            with pytest.raises(Denied) as refused:
                exchange(store, "push", dry_run=dry_run)
            codes.append(refused.value.code)

    assert noted.read_only
    assert ["remote-denied"] * 2 == codes


def test_a_token_that_was_revoked_or_has_ended_is_refused_at_once(server: Served, word: Word) -> None:
    """When the last one is gone nobody is let in, rather than everybody."""
    connection = Connection(server.url, word("read"))
    HttpRemote(connection).about()
    (info,) = list_tokens(server.store.path)
    ended = create_token(server.store.path, scope="read", project=None, expires_s=1e-9)

    revoke_token(server.store.path, info.id)
    assert find_token(server.store.path, ended.token) is None
    revoke_token(server.store.path, ended.info.id)

    for refused in (connection, Connection(server.url)):
        with pytest.raises(Denied):
            HttpRemote(refused).about()


def test_bytes_are_fetched_with_the_token_that_stands_in_the_file_now(
    server: Served, word: Word, tmp_path: Path
) -> None:
    """A process that reads for weeks would have to be started again when its token ends."""
    with Store.init(tmp_path / "from") as store:
        for number in range(2):
            (tmp_path / "x").write_text(f"{number}")
            store.put([tmp_path / "x"], name="cats", type="dataset", project="mine")
        _push(store, server, word("write"), tmp_path)
    old = create_token(server.store.path, scope="read", project=None, expires_s=None)
    (tmp_path / "token").write_text(old.token)
    with Store.init(tmp_path / "to") as store:
        add_remote(store.path, "hub", server.url, upstream=True, join=False, token_file=tmp_path / "token")
        exchange(store, "pull")
        assert b"0" == b"".join(store.read("mine/cats:v0", "x"))

        (tmp_path / "token").write_text(word("read"))
        revoke_token(server.store.path, old.info.id)

        assert b"1" == b"".join(store.read("mine/cats:v1", "x"))


@pytest.mark.parametrize(("found", "status"), [(b"", 503), (b"{}", 401), (None, 401)])
def test_tokens_that_are_lost_let_in_nobody(server: Served, word: Word, found: bytes | None, status: int) -> None:
    """A disk that lost a file would open a server to whoever can reach it."""
    token = word("read")
    assert 200 == _page(server, "/sync/1/projects", token)
    path = server.store.path / "tokens.json"
    path.unlink()
    if found is not None:
        path.write_bytes(found)

    assert status == _page(server, "/sync/1/projects", token)
    assert 401 == _page(server, "/sync/1/projects")


def test_the_store_has_no_token_only_what_tells_it(server: Served, word: Word) -> None:
    """Who reads a backup of the server can do nothing with it."""
    chance = word("write").split("_", 2)[2].encode()

    assert not [path for path in server.store.path.rglob("*") if path.is_file() and chance in path.read_bytes()]


@pytest.mark.parametrize(("scope", "may"), [("read", False), ("write", True), ("admin", True)])
def test_who_may_read_may_not_write(server: Served, word: Word, tmp_path: Path, scope: Scope, *, may: bool) -> None:
    with Store.init(tmp_path / "mine") as store:
        (tmp_path / "file").write_bytes(b"mine")
        store.put([tmp_path / "file"], name="cats", type="dataset", project="mine")

        if may:
            _push(store, server, word(scope), tmp_path)
        else:
            with pytest.raises(Denied, match="may not write"):
                _push(store, server, word(scope), tmp_path)

    assert may == bool(server.store.collections(project="mine"))


def test_a_token_for_one_project_sees_no_other(server: Served, word: Word, secret: Digest) -> None:
    """I15. A digest is no capability: neither the bytes nor a yes or no."""
    mine = Connection(server.url, word("write", "mine"))

    assert [] == list(HttpRemote(mine).projects())
    for path in ("slots/1", f"blobs/{secret.hex()}", f"uploads/{secret.hex()}", "manifests/" + "0" * 32):
        with pytest.raises(Denied):
            mine.ask("GET", f"projects/theirs/{path}", doing="asking")
    with pytest.raises(MissingObject):
        mine.ask("GET", f"projects/mine/blobs/{secret.hex()}", doing="asking")


def test_what_a_token_is_not_for_holds_up_nothing_else(server: Served, word: Word, tmp_path: Path) -> None:
    """Whoever once put something into another project could not push any more."""
    with Store.init(tmp_path / "mine") as store:
        for project in ("early", "mine", "other"):
            (tmp_path / "file").write_text(project)
            store.put([tmp_path / "file"], name="cats", type="dataset", project=project)
        (tmp_path / "token").write_text(word("write", "mine"))
        add_remote(store.path, "hub", server.url, upstream=True, join=True, token_file=tmp_path / "token")
        report = exchange(store, "push")

    assert [("early", 7), ("mine", 0), ("other", 7)] == [(each.project, each.exit_code) for each in report.projects]
    assert 1 == len(server.store.collections(project="mine"))


def test_what_a_token_is_not_for_does_not_keep_a_store_from_following(
    server: Served, word: Word, tmp_path: Path
) -> None:
    """Whoever has one version of their own elsewhere could not join a team that gives tokens by project."""
    (tmp_path / "token").write_text(word("write", "cats"))
    (tmp_path / "file").write_bytes(b"x")
    with Store.init(tmp_path / "store") as store:
        for project in ("cats", "dogs"):
            store.put([tmp_path / "file"], name="c", type="t", project=project)
        add_upstream(store, "hub", server.url, join=False, token_file=tmp_path / "token")
        report = exchange(store, "push")

    assert [("cats", 0), ("dogs", 7)] == [(each.project, each.exit_code) for each in report.projects]
    assert ["cats"] == server.store.projects()


def test_bytes_that_another_project_has_have_to_be_sent(
    server: Served, word: Word, secret: Digest, tmp_path: Path
) -> None:
    """Whoever knows only the digest would get the bytes by committing it."""
    token = word("write", "mine")
    with Store.init(tmp_path / "mine") as store:
        shelf = HttpRemote(Connection(server.url, token)).shelf(store.root, "mine", "")
        assert [secret] == shelf.lacks_blobs([secret])
        (tmp_path / "same").write_bytes(LARGE)
        store.put([tmp_path / "same"], name="dogs", type="dataset", project="mine")
        server.requests.clear()
        _push(store, server, token, tmp_path)
        assert [] == shelf.lacks_blobs([secret])

    assert f"PUT /sync/1/projects/mine/uploads/{secret.hex()}" in server.requests
    assert server.store.verify().ok


def test_a_question_about_a_digest_is_answered_as_if_nobody_had_it(
    server: Served, word: Word, secret: Digest, tmp_path: Path
) -> None:
    """Whoever may ask about one project learns of another's bytes neither by what is said nor by what is refused."""
    nobodys = Digest.of(b"nobody has this")
    mine = Connection(server.url, word("write", "mine"))
    with Store.init(tmp_path / "mine") as store:
        (tmp_path / "file").write_bytes(b"mine")
        store.put([tmp_path / "file"], name="cats", type="dataset", project="mine")
        _push(store, server, word("write", "mine"), tmp_path)

    def said(digest: Digest) -> list[object]:
        return [_answer(mine, method, path, body, digest) for method, path, body in QUESTIONS]

    assert said(nobodys) == said(secret)


QUESTIONS: list[tuple[str, str, Callable[[Digest], object]]] = [
    ("GET", "blobs/{}", lambda _: None),
    ("GET", "uploads/{}", lambda _: None),
    ("GET", "holders/{}", lambda _: None),
    ("POST", "lacks", lambda digest: [[bytes(digest)], [bytes(digest)]]),
    ("POST", "fetch", lambda digest: [bytes(digest)]),
    ("POST", "chunks", lambda digest: [bytes(digest), 64 << 10, [(0, 1)]]),
    ("POST", "ranges", lambda digest: [bytes(digest), [(0, 1)]]),
    ("POST", "proofs", lambda digest: [(bytes(digest), 0, 1), (bytes(digest), 0, SMALL + 2)]),
]
"""All that asks about a digest, but what sends its bytes."""


def _answer(connection: Connection, method: str, path: str, body: Callable[[Digest], object], digest: Digest) -> object:
    """What comes back, with the digest left out."""
    sent = body(digest)
    try:
        answer = connection.ask(
            method,
            f"projects/mine/{path.format(digest.hex())}",
            None if sent is None else msgspec.msgpack.encode(sent),
            doing="asking",
        )
    except ArtstoreError as error:
        return error.code, error.message.replace(str(digest), "…")
    return answer.status, len(answer.headers), answer.data.replace(bytes(digest), b"...")


def _page(server: Served, path: str, token: str | None = None, *, scheme: str = "Bearer") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"{scheme} {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_pages_are_for_those_who_may_see_all_projects(server: Served, word: Word, secret: Digest) -> None:
    """A lineage, a search and a list of projects tell of projects that a token for one does not name."""
    whole, one = word("read"), word("admin", "theirs")
    password = base64.b64encode(f"me:{whole}".encode()).decode()

    assert secret
    for path in ("/", "/projects/theirs", "/api/projects/theirs", "/search?q=cats", "/static/page.js"):
        assert (401, 403, 200) == (_page(server, path), _page(server, path, one), _page(server, path, whole)), path
    assert 200 == _page(server, "/", password, scheme="Basic")


def test_a_token_goes_nowhere_else() -> None:
    """A server that sends on to another host must not make a client show that one its token."""
    seen: list[str] = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization", ""))
            self.send_response(307)
            self.send_header("Location", f"http://localhost:{portal.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as portal:
        threading.Thread(target=portal.serve_forever).start()
        try:
            with pytest.raises(Unreachable, match="sends elsewhere") as moved:
                HttpRemote(Connection(f"http://127.0.0.1:{portal.server_port}", "token-of-mine")).about()
        finally:
            portal.shutdown()

    assert ["Bearer token-of-mine"] == seen
    assert "token-of-mine" not in moved.value.message


def test_a_server_is_known_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate = Certificate(tmp_path / "server.pem", tmp_path / "server.pem")
    with served(tmp_path / "server", certificate) as server:
        with pytest.raises(Denied, match="does not prove"):
            HttpRemote(Connection(server.url)).about()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert server.store.root.format.store_id == HttpRemote(Connection(server.url)).about().store


@pytest.mark.parametrize(("expires_s", "code"), [((), "needs-token"), ((1e-9,), "needs-token"), ((None,), "needs-tls")])
def test_others_may_reach_it_only_with_tokens_and_tls(
    tmp_path: Path, expires_s: tuple[float | None, ...], code: str
) -> None:
    with Store.init(tmp_path / "store") as store:
        for each in expires_s:
            create_token(store.path, scope="read", project=None, expires_s=each)
        with pytest.raises(Refused) as refused:
            serve(store, Address("0.0.0.0", 0), ready=print)  # noqa: S104 - that is what is refused

    assert code == refused.value.code


def test_a_proxy_is_not_let_in_for_everybody(tmp_path: Path) -> None:
    """What stands before the server brings in whoever comes from anywhere, while it is this machine that asks."""
    with Store.init(tmp_path / "store") as store, pytest.raises(Refused, match="artstore token create") as refused:
        serve(store, Address("127.0.0.1", 0), behind_proxy=True, ready=print)

    assert "needs-token" == refused.value.code


def test_a_token_is_found_in_the_file_the_environment_and_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "tokens.toml"
    keyring.write_text('"https://hub.example" = "of-the-keyring"\n')
    keyring.chmod(0o600)
    (tmp_path / "file").write_text("of-the-file\n")
    monkeypatch.setattr(tokens._Given, "token", None)
    monkeypatch.setattr(tokens._Given, "server", None)
    monkeypatch.setattr(tokens._Given, "keyring", lambda: keyring)
    url = "https://hub.example/artstore"

    found = [tokens.token_for(each, None) for each in (url, "https://HUB.example:443/", "https://other.example")]
    monkeypatch.setattr(tokens._Given, "token", "of-the-environment")
    found.append(tokens.token_for(url, None))
    monkeypatch.setattr(tokens._Given, "server", "https://Hub.example/")
    found += [tokens.token_for(url, None), tokens.token_for(url, str(tmp_path / "file"))]
    # Remotes are said by whoever made the store: it may have come from elsewhere.
    found += [tokens.token_for(each, None) for each in ("https://evil.example", "https://hub.example:8443")]

    kept, given = ["of-the-keyring"] * 2, ["of-the-environment", "of-the-file"]
    assert [*kept, None, "of-the-keyring", *given, None, None] == found


def test_a_keyring_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = tmp_path / "tokens.toml"
    keyring.write_text('"https://hub.example" = "secret"\n')
    keyring.chmod(0o640)
    monkeypatch.setattr(tokens._Given, "token", None)
    monkeypatch.setattr(tokens._Given, "keyring", lambda: keyring)

    with pytest.raises(Refused, match="others may read"):
        open_remote(Settings(url="https://hub.example"))


@pytest.mark.parametrize(("text", "error"), [("two words", Invalid), ("", Invalid), (None, MissingFile)])
def test_a_file_without_a_token_is_named(tmp_path: Path, text: str | None, error: type[Exception]) -> None:
    if text is not None:
        (tmp_path / "file").write_text(text)

    with pytest.raises(error, match="file"):
        open_remote(Settings(url="https://hub.example", token_file=str(tmp_path / "file")))
