"""Logging in and out, and what a page needs before it shows anything."""

from __future__ import annotations

import msgspec

from orthoedge.clinic.server.api.answers import (
    BundleShown,
    Done,
    LanguageShown,
    Login,
    SessionShown,
)
from orthoedge.clinic.server.api.calls import Call, Reply, json_reply
from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.engine.report_process import can_report
from orthoedge.clinic.server.state import ServerState
from orthoedge.clinic.words import LANGUAGES, catalogue

__all__ = ["COOKIE", "log_in", "log_out", "show_session", "show_texts"]

COOKIE = "orthoedge_session"


def show_session(state: ServerState, call: Call) -> Reply:
    """Who is logged in, with the token of changing requests."""
    session = state.sessions.get(call.caller.token, by_user=False)
    csrf = session.csrf if session else "" if state.needs_accounts else state.local_csrf
    return json_reply(_shown(state, call.caller.user, call.caller.role, csrf))


def show_texts(state: ServerState, call: Call) -> Reply:
    """The texts of the page in one language.

    Raises:
        ApiError: no such language.
    """
    language = call.path["language"]
    if language not in LANGUAGES:
        raise ApiError("error.not_found")
    texts = catalogue(language)
    return Reply(msgspec.json.encode({**texts.page_texts(), "direction": texts.direction}))


def log_in(state: ServerState, call: Call) -> Reply:
    """Check a password and start a new session.

    Raises:
        ApiError: wrong, or too many were wrong before.
    """
    login, address = call.body(Login), call.caller.address
    wait_s = state.guesses.begin(login.user, address)
    if wait_s > 0:
        raise ApiError("error.too_many_guesses", wait_s=wait_s)
    account = state.accounts.check(login.user, login.password)
    if account is None:
        state.guesses.wrong(login.user, address)
        state.history.note(login.user[:64], "login failed", detail=address)
        raise ApiError("error.login_failed")
    state.guesses.right(login.user, address)
    token, session = state.sessions.start(account.name, account.role, call.caller.token)
    state.history.note(account.name, "login", detail=address)
    shown = _shown(state, session.user, session.role, session.csrf)
    return json_reply(shown, headers={"Set-Cookie": _cookie(state, token)})


def log_out(state: ServerState, call: Call) -> Reply:
    """End the session."""
    state.sessions.end(call.caller.token)
    state.history.note(call.caller.user, "logout")
    return json_reply(Done(), headers={"Set-Cookie": _cookie(state, "") + "; Max-Age=0"})


def _language(code: str) -> LanguageShown:
    texts = catalogue(code)
    return LanguageShown(code, texts.name, texts.direction, texts.is_reviewed)


def _cookie(state: ServerState, token: str) -> str:
    secure = "; Secure" if state.settings.tls else ""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _shown(state: ServerState, user: str, role: str, csrf: str) -> SessionShown:
    bundle, needed = state.bundle, state.needs_accounts
    return SessionShown(
        user=user,
        role=role,  # type: ignore[arg-type]  # one of the roles, or empty
        needs_login=not role,
        has_accounts=needed,
        idle_s=state.settings.access.idle_minutes * 60 if needed else 0,
        csrf=csrf,
        languages=tuple(_language(code) for code in LANGUAGES),
        labels=bundle.labels,
        bundle=BundleShown(bundle.name, bundle.version, bundle.sha256, bundle.alert_labels),
        notice=bundle.notice,
        can_report=can_report(),
    )
