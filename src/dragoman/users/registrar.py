"""Changes users and keys: what may be, how secrets are made, and whose doing it was. Blocks; knows no server.

The command line and the management of accounts are two faces of it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dragoman.errors import InvalidInput
from dragoman.store.accounts import Entry, Key, SigningKey, Snapshot, User
from dragoman.transport.auth import ROLES
from dragoman.users.keys import make_key, shown
from dragoman.users.passwords import hash_password
from dragoman.users.tokens import make_signing_key

if TYPE_CHECKING:
    from dragoman.store.accounts.database import AccountStore

#: Seconds after which every process knows of a new signing key.
HEARD: Final = 5.0


@dataclass(frozen=True, slots=True)
class By:
    """Whose doing it is, and from where."""

    who: str
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What of a user is to be otherwise; ``None`` stays as it is."""

    password: str | None = None
    roles: Sequence[str] | None = None
    models: Sequence[str] | None = None
    disabled: bool | None = None


class Registrar:
    """Over one store. ``overlap`` are the seconds that an old signing key is good for beside a new one."""

    def __init__(self, store: "AccountStore", overlap: float, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._overlap = overlap
        self._clock = clock

    def look(self) -> Snapshot:
        """Everything there is now."""
        return self.store.snapshot(self._clock() - self._overlap)

    # Users.

    def add_user(self, name: str, password: str, roles: Sequence[str], models: Sequence[str], by: By) -> User:
        """Raises InvalidInput, Conflict."""
        user = User(
            name=name,
            password=hash_password(password),
            roles=read_roles(roles),
            models=tuple(models),
            created=round(self._clock(), 6),  # as it is kept
        )
        self.store.add_user(user, self._entry(by, f"add user {name}"))
        return user

    def change_user(self, name: str, wanted: UserChange, by: By) -> User:
        """All at once, or nothing. It counts at once, for tokens that are out, too; with another password or where the
        user is disabled all its sessions end. Raises InvalidInput, NotFound."""
        said: dict[str, Any] = {}
        if wanted.password is not None:
            said["password"] = hash_password(wanted.password)
        if wanted.roles is not None:
            said["roles"] = read_roles(wanted.roles)
        if wanted.models is not None:
            said["models"] = tuple(wanted.models)
        if wanted.disabled is not None:
            said["disabled"] = wanted.disabled
        entry = self._entry(by, f"change {', '.join(said)} of user {name}")
        ends = self._clock() if wanted.password is not None or wanted.disabled else 0.0
        return self.store.change_user(name, lambda user: replace(user, **said), entry, ends=ends)

    def remove_user(self, name: str, by: By) -> None:
        """Raises NotFound."""
        self.store.remove_user(name, self._entry(by, f"remove user {name}"), now=self._clock())

    # Keys.

    def create_key(self, wanted: Key, by: By) -> tuple[Key, str]:
        """The key, and its text, which is nowhere else. Raises InvalidInput."""
        read_roles(wanted.roles)
        now = self._clock()
        if wanted.expires and wanted.expires <= now:
            raise InvalidInput("a key must expire in the future")
        key, text = make_key(replace(wanted, created=round(now, 6), expires=round(wanted.expires, 6)))
        self.store.add_key(key, self._entry(by, f"create key {shown(key)}"))
        return key, text

    def revoke_key(self, id_: str, by: By) -> None:
        """Raises NotFound, Conflict."""
        id_ = id_.removeprefix("dk_")
        self.store.revoke_key(id_, self._entry(by, f"revoke key dk_{id_}"))

    # What signs.

    def rotate(self, by: By, *, at_once: bool = False) -> SigningKey:
        """A new key signs access tokens. Those that are out stay good until they expire; with ``at_once`` none does."""
        while (key := self._sign_with_another(newest_of(self.look()), by, at_once)) is None:
            pass
        return key

    def keep_signing(self, lifetime: float) -> bool:
        """See to it that there is a key that signs, and none that is older than ``lifetime`` seconds (0: never mind).
        Says whether there is a new one."""
        newest = newest_of(self.look())
        if newest is not None and (not lifetime or self._clock() - newest.created <= lifetime):
            return False
        return self._sign_with_another(newest, By("server"), False) is not None

    def _sign_with_another(self, newest: SigningKey | None, by: By, at_once: bool) -> SigningKey | None:
        """``None`` where somebody else was faster."""
        now = self._clock()
        key, expires = make_signing_key(now), now if at_once else now + self._overlap
        entry = self._entry(by, "rotate signing keys" + (" at once" if at_once else ""))
        taken = self.store.add_signing_key(key, expires, entry, newest=newest.id if newest else "")
        return key if taken else None

    def _entry(self, by: By, what: str) -> Entry:
        return Entry(at=self._clock(), who=by.who, what=what, origin=by.origin)


def newest_of(snapshot: Snapshot) -> SigningKey | None:
    """The one that was made last."""
    return max(snapshot.signing, key=lambda key: key.created, default=None)


def signer_of(snapshot: Snapshot, now: float) -> SigningKey | None:
    """The one that signs: the newest, once other processes have had the time to hear of it, or the only one."""
    good = [key for key in snapshot.signing if not key.expires or key.expires > now]
    known = [key for key in good if now - key.created >= HEARD]
    return max(known or good, key=lambda key: key.created, default=None)


def read_roles(words: Iterable[str]) -> frozenset[str]:
    """Raises InvalidInput for none, and for one that isn't known."""
    roles = frozenset(words)
    if not roles or not roles <= frozenset(ROLES):
        raise InvalidInput(f"roles are some of {', '.join(ROLES)}, got {', '.join(sorted(roles)) or 'none'}")
    return roles


def anybody(snapshot: Snapshot, now: float) -> bool:
    """Whether there is a key or a user that opens something."""
    keys = any(not key.revoked and (not key.expires or key.expires > now) for key in snapshot.keys)
    return keys or any(not user.disabled for user in snapshot.users.values())
