"""What another page, a bad name, a slow sender or a guesser tries has no effect."""

import socket
import time

import pytest

from orthoedge.clinic.server.settings import UploadSettings
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.pages import PATIENCE_S, ROOT, SAMPLES, clinic_server, clinic_settings

PASSWORD = "a long password"
SAMPLE = SAMPLES[0].read_bytes()
LIMITS = UploadSettings(max_mb=1, stall_s=0.5, longest_s=3)
BROWSER = {"Sec-Fetch-Site": "same-origin"}


def announced(path, size):
    """The head of a request with so many bytes after it."""
    head = f"POST {ROOT}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    return head.encode()


def is_cut_off(sending, block, pause_s):
    """Whether the server ends a connection on which the same is sent again and again."""
    try:
        for _ in range(int(PATIENCE_S / pause_s)):
            sending.sendall(block)
            time.sleep(pause_s)
    except OSError:
        return True
    return False


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    settings = clinic_settings(
        tmp_path_factory.mktemp("clinic") / "history", upload=LIMITS, names=("xray.example",)
    )
    with clinic_server(settings) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    from orthoedge.clinic.accounts import Accounts

    folder = tmp_path_factory.mktemp("clinic") / "history"
    for name, role in (("op", "operator"), ("doc", "physician"), ("admin", "administrator")):
        Accounts(folder).add(name, role, PASSWORD)
    with clinic_server(clinic_settings(folder)) as client:
        yield client


@pytest.fixture
def user(guarded):
    """The server with accounts, with no one logged in and no guess counted."""
    guarded.cookie = guarded.csrf = ""
    guarded.state.guesses.__init__()
    return guarded


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@x"]
)
@pytest.mark.parametrize("path", ["/", f"{ROOT}/session"])
def test_a_name_that_is_not_the_servers_is_refused(clinic, host, path):
    reply = clinic.ask("GET", path, headers={"Host": host})
    assert (reply.status, reply.json["id"]) == (421, "error.host")


@pytest.mark.parametrize("host", ["localhost:8420", "127.0.0.1", "[::1]:8420", "XRAY.example:1"])
def test_the_servers_own_names_are_known(clinic, host):
    assert clinic.get("/session", headers={"Host": host}).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_of_another_page_is_refused(clinic, site):
    for method, path in (("GET", "/findings"), ("POST", "/findings"), ("GET", "/session")):
        reply = clinic.ask(method, ROOT + path, b"", {"Sec-Fetch-Site": site})
        assert (reply.status, reply.json["id"]) == (403, "error.cross_site")


def test_a_changing_request_with_another_origin_is_refused(clinic):
    for origin in ("https://evil.example", "null", f"https://127.0.0.1:{clinic.port}"):
        reply = clinic.post("/findings", SAMPLE, {"Origin": origin})
        assert reply.json["id"] == "error.cross_site"


def test_a_browser_needs_the_token_of_the_session(clinic):
    own = {**BROWSER, "Origin": f"http://127.0.0.1:{clinic.port}"}
    assert clinic.post("/findings", SAMPLE, own).json["id"] == "error.csrf"
    assert clinic.post("/findings", SAMPLE, {**own, "X-CSRF-Token": "x"}).json["id"] == "error.csrf"
    csrf = clinic.get("/session", BROWSER).json["csrf"]
    assert clinic.post("/findings", SAMPLE, {**own, "X-CSRF-Token": csrf}).status == 201


def test_another_page_may_link_to_this_one(clinic):
    reply = clinic.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status != 403


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("%2Fetc%2Fpasswd", "passwd"),
        ("C:%5CWindows%5Cx.dcm", "x.dcm"),
        ("..", ".."),
        ("%00x.dcm%0A", "x.dcm"),
        ("", "?"),
        ("a%2F", "a"),
        ("<script>", "<script>"),
        ("x" * 5000, "x" * 200),
    ],
)
def test_the_name_of_a_file_is_text_and_never_a_path(clinic, name, shown):
    folder = clinic.state.history.folder
    before = {path for path in folder.rglob("*") if path.parent.name not in ("pixels", "incoming")}
    reply = clinic.post(f"/findings?name={name}", SAMPLE)
    assert (reply.status, reply.json["file_name"]) == (201, shown)
    after = {path for path in folder.rglob("*") if path.parent.name not in ("pixels", "incoming")}
    new = {path.relative_to(folder).parts[0] for path in after - before}
    assert new <= {"pixels", "incoming", "history.sqlite-wal", "history.sqlite-shm"}
    assert list((folder / "incoming").iterdir()) == []


def test_a_script_in_a_header_stays_text_of_json(clinic):
    script = "<script>alert(1)</script>"
    file = image_file({0x00100010: ("PN", script), 0x00100020: ("LO", script)})
    number = clinic.post(f"/findings?name={script.replace('/', '')}.dcm", file).json["number"]
    for path in (f"/findings/{number}", "/findings"):
        reply = clinic.get(path)
        assert script in reply.content.decode()
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "script-src" not in reply.headers["Content-Security-Policy"]
        assert "'unsafe-inline'" not in reply.headers["Content-Security-Policy"]


def test_a_file_that_is_too_large_is_refused_by_its_announcement(clinic):
    reply = clinic.ask("POST", f"{ROOT}/findings", b"", {"Content-Length": str(2**40)})
    assert (reply.status, reply.json["id"]) == (413, "error.too_large")


def test_a_file_that_is_larger_than_it_says_is_cut_off(clinic):
    with socket.create_connection(("127.0.0.1", clinic.port), PATIENCE_S) as sending:
        head = f"POST {ROOT}/findings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
        sending.sendall(f"{head}\r\n\r\n".encode())
        assert is_cut_off(sending, b"10000\r\n" + bytes(2**16) + b"\r\n", 0.05)
    assert list((clinic.state.history.folder / "incoming").iterdir()) == []


def test_json_that_is_too_large_is_refused(clinic):
    reply = clinic.post("/findings/1/opinion", b" " * 100_000)
    assert reply.status == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        announced("findings", 99) + b"ab",
        announced("session", 99) + b"{",
    ],
)
def test_a_connection_that_goes_silent_is_closed(clinic, sent):
    with socket.create_connection(("127.0.0.1", clinic.port), PATIENCE_S) as sending:
        sending.sendall(sent)
        received = b""
        while block := sending.recv(4096):
            received += block
    assert received == b"" or b" 408 " in received


def test_a_file_that_comes_by_drops_is_given_up_as_a_whole(clinic):
    with socket.create_connection(("127.0.0.1", clinic.port), PATIENCE_S) as sending:
        sending.sendall(announced("findings", 9999))
        assert is_cut_off(sending, b"x", 0.2)


def test_silent_connections_keep_no_one_out(clinic):
    silent = [socket.create_connection(("127.0.0.1", clinic.port)) for _ in range(100)]
    assert clinic.get("/session").status == 200
    for one in silent:
        one.close()


def test_without_a_login_nothing_is_shown(user):
    for method, path in (
        ("GET", "/findings"),
        ("GET", "/findings/1"),
        ("GET", "/findings/1/pixels"),
        ("GET", "/events"),
        ("GET", "/audit"),
        ("GET", "/agreement"),
        ("GET", "/opinions.csv"),
        ("POST", "/findings"),
        ("POST", "/backup"),
        ("DELETE", "/findings/1"),
    ):
        reply = user.ask(method, ROOT + path, b"")
        assert (reply.status, reply.json["id"]) == (401, "error.login_needed")
    session = user.get("/session").json
    assert (session["needs_login"], session["user"], session["csrf"]) == (True, "", "")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("op", {"/findings"}),
        ("doc", {"/findings", "/agreement", "/opinions.csv"}),
        ("admin", {"/findings", "/agreement", "/opinions.csv", "/audit"}),
    ],
)
def test_a_role_may_do_what_it_is_for(user, name, allowed):
    assert user.log_in(name, PASSWORD).status == 200
    got = {
        path: user.get(path).status
        for path in ("/findings", "/agreement", "/opinions.csv", "/audit")
    }
    assert {path for path, status in got.items() if status == 200} == allowed
    assert set(got.values()) <= {200, 403}
    assert user.delete("/findings/999").status == (404 if name == "admin" else 403)
    expected = 403 if name == "op" else 404
    assert user.post("/findings/999/opinion", {"agrees": True}).status == expected


def test_a_session_that_was_planted_is_of_no_use_after_the_login(user):
    user.log_in("op", PASSWORD)
    planted = user.cookie
    user.log_in("doc", PASSWORD)
    assert user.cookie != planted
    user.cookie = planted
    assert user.get("/findings").status == 401
    user.cookie = "orthoedge_session=chosen-by-the-attacker"
    user.log_in("doc", PASSWORD)
    assert user.cookie != "orthoedge_session=chosen-by-the-attacker"


def test_the_cookie_is_out_of_the_reach_of_scripts_and_other_sites(user):
    cookie = user.log_in("op", PASSWORD).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


def test_with_a_session_every_changing_request_needs_its_token(user):
    user.log_in("doc", PASSWORD)
    token, user.csrf = user.csrf, ""
    assert user.post("/findings/1/opinion", {"agrees": True}).json["id"] == "error.csrf"
    assert user.delete("/session").json["id"] == "error.csrf"
    user.csrf = token
    assert user.delete("/session").status == 200
    assert user.get("/findings").status == 401


def test_guessing_is_slowed_down_and_written_down(user):
    for _ in range(5):
        assert user.log_in("doc", "a wrong password").status == 403
    reply = user.log_in("doc", PASSWORD)
    assert (reply.status, reply.json["id"]) == (429, "error.too_many_guesses")
    assert int(reply.headers["Retry-After"]) >= 1
    actions = [entry.action for entry in user.state.history.audit()]
    assert actions[:5] == ["login failed"] * 5


def test_the_answer_does_not_tell_whether_a_name_exists(user):
    wrong, unknown = user.log_in("doc", "wrong password"), user.log_in("nobody", "wrong password")
    assert (wrong.status, wrong.content) == (unknown.status, unknown.content)


def test_a_removed_account_is_out_at_once(user):
    user.state.accounts.add("temp", "operator", PASSWORD)
    user.log_in("temp", PASSWORD)
    assert user.get("/findings").status == 200
    user.state.accounts.remove("temp")
    assert user.get("/findings").status == 401


def test_errors_do_not_quote_what_a_header_says(clinic):
    file = image_file({0x00100010: ("PN", "Secret^Name"), 0x00280010: None})
    assert b"Secret" not in clinic.post("/findings?name=x", file).content
