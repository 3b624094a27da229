"""Passwords are kept as hashes, sessions end, and guessing gets slower."""

import msgspec
import pytest

from orthoedge.clinic.accounts import Accounts, Guesses, Sessions
from orthoedge.runtime.errors import ConfigError, DataError

PASSWORD = "a long password"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def accounts(tmp_path):
    made = Accounts(tmp_path)
    made.add("ada", "physician", PASSWORD)
    return made


def test_only_the_right_password_opens_an_account(accounts):
    assert accounts.check("ada", PASSWORD).role == "physician"
    assert accounts.check("ada", PASSWORD + " ") is None
    assert accounts.check("ben", PASSWORD) is None


def test_the_file_has_a_hash_and_is_readable_by_its_owner_alone(accounts, tmp_path):
    file = tmp_path / "accounts.json"
    assert file.stat().st_mode & 0o077 == 0
    content = file.read_bytes()
    assert PASSWORD.encode() not in content
    assert msgspec.json.decode(content)[0]["password_hash"].startswith("$argon2id$v=19$m=65536,t=3")


def test_two_accounts_with_one_password_have_different_hashes(accounts):
    accounts.add("ben", "operator", PASSWORD)
    assert accounts.get("ada").password_hash != accounts.get("ben").password_hash


def test_an_account_that_another_process_changed_is_read_again(accounts, tmp_path):
    other = Accounts(tmp_path)
    other.add("ada", "operator", "another password")
    assert accounts.get("ada").role == "operator"
    assert accounts.check("ada", PASSWORD) is None
    other.remove("ada")
    assert accounts.names() == []


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 65, "<b>", "a\n"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="a name has"):
        Accounts(tmp_path).add(name, "operator", PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_refused(tmp_path, password):
    with pytest.raises(ConfigError, match="10 to 1024 characters"):
        Accounts(tmp_path).add("ben", "operator", password)


def test_removing_an_account_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="none of that name"):
        Accounts(tmp_path).remove("ben")


def test_a_damaged_file_is_an_error_and_not_a_server_without_accounts(tmp_path):
    (tmp_path / "accounts.json").write_text("[{}]")
    with pytest.raises(DataError, match=r"accounts\.json: damaged"):
        Accounts(tmp_path)


def test_an_idle_session_ends_and_what_the_page_asks_by_itself_does_not_keep_it(clock):
    sessions = Sessions(60, 3600, clock)
    token, _ = sessions.start("ada", "physician")
    for _ in range(3):
        clock.now += 50
        assert sessions.get(token) is not None
    for _ in range(2):
        clock.now += 50
        sessions.get(token, by_user=False)
    assert sessions.get(token) is None


def test_a_session_in_use_ends_after_its_longest_time(clock):
    sessions = Sessions(60, 100, clock)
    token, _ = sessions.start("ada", "physician")
    for _ in range(3):
        clock.now += 40
        sessions.get(token)
    assert sessions.get(token) is None


def test_a_login_ends_the_session_that_the_browser_had(clock):
    sessions = Sessions(60, 100, clock)
    old, _ = sessions.start("ada", "physician")
    new, session = sessions.start("ada", "physician", old)
    assert new != old
    assert sessions.get(old) is None
    assert sessions.get(new) is session


def test_sessions_do_not_share_a_token_and_memory_does_not_keep_it(clock):
    sessions = Sessions(60, 100, clock)
    started = [sessions.start("ada", "physician") for _ in range(50)]
    assert len({token for token, _ in started} | {session.csrf for _, session in started}) == 100
    assert not any(token in str(vars(sessions)) for token, _ in started)


def test_all_sessions_of_a_user_can_be_ended(clock):
    sessions = Sessions(60, 100, clock)
    ada, _ = sessions.start("ada", "physician")
    ben, _ = sessions.start("ben", "operator")
    sessions.end_all("ada")
    assert sessions.get(ada) is None
    assert sessions.get(ben) is not None


def test_five_guesses_are_free_and_each_further_one_waits_twice_as_long(clock):
    guesses = Guesses(clock)
    waits = []
    for _ in range(16):
        waits.append(guesses.begin("ada", "10.0.0.9"))
        clock.now += waits[-1]
        if waits[-1]:
            assert guesses.begin("ada", "10.0.0.9") == 0
    assert waits[:5] == [0] * 5
    assert waits[5:10] == [1, 2, 4, 8, 16]
    assert max(waits) == 900


def test_guesses_count_by_name_and_by_address(clock):
    guesses = Guesses(clock)
    for number in range(5):
        guesses.begin("ada", f"10.0.0.{number}")
        guesses.begin(f"user{number}", "10.0.0.99")
    assert guesses.begin("ada", "10.1.1.1") > 0  # from many addresses
    assert guesses.begin("new", "10.0.0.99") > 0  # of many names
    assert guesses.begin("new", "10.1.1.1") == 0


def test_guesses_that_are_made_at_the_same_time_are_all_counted(clock):
    guesses = Guesses(clock)
    waits = [guesses.begin("ada", "10.0.0.9") for _ in range(100)]  # none was checked yet
    assert waits.count(0) == 5


def test_the_right_password_forgets_the_wrong_ones_of_its_name_alone(clock):
    guesses = Guesses(clock)
    for _ in range(4):
        guesses.begin("ada", "10.0.0.9")
    guesses.begin("ada", "10.0.0.9")
    guesses.right("ada", "10.0.0.9")
    assert guesses.begin("ada", "10.1.1.1") == 0
    assert guesses.begin("ben", "10.0.0.9") == 0
    assert guesses.begin("ben", "10.0.0.9") > 0


def test_the_wait_begins_when_the_password_was_found_to_be_wrong(clock):
    guesses = Guesses(clock)
    for _ in range(5):
        guesses.begin("ada", "10.0.0.9")
    clock.now += 10  # of a slow processor that hashes
    guesses.wrong("ada", "10.0.0.9")
    assert guesses.begin("ada", "10.0.0.9") == 1


def test_after_an_hour_wrong_passwords_are_forgotten(clock):
    guesses = Guesses(clock)
    for _ in range(5):
        guesses.begin("ben", "10.0.0.9")
    clock.now += 4000
    assert [guesses.begin("ben", "10.0.0.9") for _ in range(5)] == [0] * 5
