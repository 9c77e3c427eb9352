"""Users, keys, logins and the audit over HTTP. Thin: the codec knows the wire, the registrar what may be.

::

    POST   /users/login                 name and password for tokens           POST /users/refresh, /users/logout
    GET    /users/me                    who asks, and what it may
    GET    /users     POST /users       PATCH, DELETE /users/{name}            for admins
    GET    /keys      POST /keys        DELETE /keys/{id}                      for admins
    GET    /audit                                                              for admins

Without a store there is ``/users/me`` and nothing else; without the extra ``auth`` nobody can log in.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from dragoman.errors import Unauthorized
from dragoman.protocols.accounts import codec
from dragoman.transport.auth import About
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_failure
from dragoman.users.access import Access
from dragoman.users.caller import KnownCaller
from dragoman.users.login import Login
from dragoman.users.registrar import By, Registrar

#: Tokens and keys are nobody's to keep on the way (RFC 6749, 5.1).
_PRIVATE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))

Work = Callable[[], Awaitable[codec.Document]]


class Http:
    """Handlers over who may."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router, guard: Guard | None = None) -> None:
        """``guard`` keeps out pages of other sites."""

        def add(method: str, pattern: str, handler: Callable[[HttpRequest], None], operation: str) -> None:
            router.add(
                method, pattern, handler, permit=False, guard=guard, operation=operation, about=About.SERVER
            )

        add("GET", "/users/me", self.me, "identity")
        if self._access.login is not None:
            add("POST", "/users/login", self.login, "login")
            add("POST", "/users/refresh", self.refresh, "login")
            add("POST", "/users/logout", self.logout, "login")
        if self._access.registrar is None:
            return
        for method, pattern, handler in (
            ("GET", "/users", self.users),
            ("POST", "/users", self.add_user),
            ("PATCH", "/users/{}", self.change_user),
            ("DELETE", "/users/{}", self.remove_user),
            ("GET", "/keys", self.keys),
            ("POST", "/keys", self.create_key),
            ("DELETE", "/keys/{}", self.revoke_key),
            ("GET", "/audit", self.audit),
        ):
            add(method, pattern, handler, "accounts")

    # Logins.

    def login(self, http: HttpRequest) -> None:
        name, password = codec.decode_login(http.body, http.header(b"content-type") or "")

        async def work() -> codec.Document:
            return codec.encode_tokens(await self._login.login(name, password, _origin(http)))

        self._answer(http, work)

    def refresh(self, http: HttpRequest) -> None:
        token = codec.decode_refresh(http.body, http.header(b"content-type") or "")

        async def work() -> codec.Document:
            return codec.encode_tokens(await self._login.refresh(token, _origin(http)))

        self._answer(http, work)

    def logout(self, http: HttpRequest) -> None:
        token = codec.decode_refresh(http.body, http.header(b"content-type") or "")

        async def work() -> codec.Document:
            await self._login.logout(token)
            await self._access.look()
            return {}

        self._answer(http, work)

    def me(self, http: HttpRequest) -> None:
        caller = http.caller
        if not isinstance(caller, KnownCaller):
            raise Unauthorized("nobody is known here")
        http.respond(200, codec.encode(codec.encode_caller(caller)), headers=_PRIVATE)

    # Users.

    def users(self, http: HttpRequest) -> None:
        async def work() -> codec.Document:
            snapshot = await self._access.look()
            return {"users": [codec.encode_user(snapshot.users[name]) for name in sorted(snapshot.users)]}

        self._answer(http, work)

    def add_user(self, http: HttpRequest) -> None:
        said, by = codec.decode_user(http.body), _by(http)
        self._change(http, lambda: codec.encode_user(self._registrar.add_user(*said, by)))

    def change_user(self, http: HttpRequest) -> None:
        (name,), said, by = http.params, codec.decode_change(http.body), _by(http)

        def change() -> codec.Document:
            return codec.encode_user(self._registrar.change_user(name, said, by))

        self._change(http, change)

    def remove_user(self, http: HttpRequest) -> None:
        (name,), by = http.params, _by(http)

        def change() -> codec.Document:
            self._registrar.remove_user(name, by)
            return {}

        self._change(http, change)

    # Keys.

    def keys(self, http: HttpRequest) -> None:
        async def work() -> codec.Document:
            registrar = self._registrar
            return {"keys": [codec.encode_key(key) for key in (await asyncio.to_thread(registrar.look)).keys]}

        self._answer(http, work)

    def create_key(self, http: HttpRequest) -> None:
        """The one answer that has the key in it."""
        wanted, by = codec.decode_key(http.body, time.time()), _by(http)

        def change() -> codec.Document:
            key, text = self._registrar.create_key(wanted, by)
            return {**codec.encode_key(key), "key": text}

        self._change(http, change)

    def revoke_key(self, http: HttpRequest) -> None:
        (id_,), by = http.params, _by(http)

        def change() -> codec.Document:
            self._registrar.revoke_key(id_, by)
            return {}

        self._change(http, change)

    def audit(self, http: HttpRequest) -> None:
        limit, before = codec.decode_page(http.query)

        async def work() -> codec.Document:
            store = self._registrar.store
            return codec.encode_entries(await asyncio.to_thread(store.audit, limit=limit, before=before))

        self._answer(http, work)

    # Inside.

    @property
    def _login(self) -> Login:
        assert self._access.login is not None  # its routes are there
        return self._access.login

    @property
    def _registrar(self) -> Registrar:
        assert self._access.registrar is not None
        return self._access.registrar

    def _change(self, http: HttpRequest, change: Callable[[], codec.Document]) -> None:
        """Do it on a thread; it counts here before it is answered."""

        async def work() -> codec.Document:
            document = await asyncio.to_thread(change)
            await self._access.look()
            return document

        self._answer(http, work)

    def _answer(self, http: HttpRequest, work: Work) -> None:
        async def run() -> None:
            try:
                http.respond(200, codec.encode(await work()), headers=_PRIVATE)
            except Exception as error:
                respond_failure(http, error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _origin(http: HttpRequest) -> str:
    return http.client[0] if http.client else ""


def _by(http: HttpRequest) -> By:
    """Whose doing it is, for the audit."""
    return By(http.caller.name, _origin(http))
