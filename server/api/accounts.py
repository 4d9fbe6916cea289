"""Registering, logging in and out, profiles, search, settings."""

from server.api.routing import Access, AnyRoute, Call, Route, Source
from server.errors import ErrorCode as E
from server.services.accounts import Accounts, NewLogin
from server.wire import bodies, objects

TAG = "Accounts"


class AccountsApi:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def register(self, call: Call[bodies.Register]) -> objects.NewLogin:
        body = call.input
        new = await self._accounts.register(body.username, body.password, body.nickname, body.avatar, call.visitor)
        return _new_login(new)

    async def login(self, call: Call[bodies.LogIn]) -> objects.NewLogin:
        return _new_login(await self._accounts.login(call.input.username, call.input.password, call.visitor))

    async def logout(self, call: Call[bodies.Nothing]) -> None:
        await self._accounts.logout(call.session)

    async def logins(self, call: Call[bodies.Nothing]) -> list[objects.Login]:
        return [
            objects.Login.of(login, current=login.login_id == call.session.login_id)
            for login in await self._accounts.logins(call.session)
        ]

    async def end_login(self, call: Call[bodies.LoginId]) -> None:
        await self._accounts.end_login(call.session, call.input.login_id)

    async def end_other_logins(self, call: Call[bodies.Nothing]) -> None:
        await self._accounts.end_other_logins(call.session)

    async def infos(self, call: Call[bodies.UserIds]) -> list[objects.User | None]:
        users = await self._accounts.infos(call.input.user_ids)
        return [objects.User.model_validate(user) if user else None for user in users]

    async def update(self, call: Call[bodies.Profile]) -> None:
        await self._accounts.update_profile(call.session, call.input.nickname, call.input.avatar)

    async def search(self, call: Call[bodies.Search]) -> list[objects.FoundUser]:
        query = call.input
        found = await self._accounts.search(call.session, query.keyword, query.page, query.size)
        return [objects.FoundUser.of(user, is_friend, request) for user, is_friend, request in found]

    async def wallpaper(self, call: Call[bodies.Nothing]) -> objects.Settings | None:
        wallpaper = await self._accounts.wallpaper(call.session)
        return None if wallpaper is None else objects.Settings(wallpaper=wallpaper)

    async def set_wallpaper(self, call: Call[bodies.Wallpaper]) -> None:
        await self._accounts.set_wallpaper(call.session, call.input.wallpaper)

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/register", self.register, "Make an account and log in",
                bodies.Register, Source.BODY, objects.NewLogin,
                (E.USERNAME_TAKEN, E.FIELD_INVALID, E.TOO_MANY), Access.OPEN, TAG,
            ),
            Route(
                "POST", "/login", self.login, "Log in",
                bodies.LogIn, Source.BODY, objects.NewLogin,
                (E.WRONG_PASSWORD, E.FIELD_INVALID, E.TOO_MANY), Access.OPEN, TAG,
            ),
            Route(
                "POST", "/logout", self.logout, "End this login; its sockets close",
                bodies.Nothing, Source.QUERY, None, (E.NOT_FOUND,), tag=TAG,
            ),
            Route(
                "GET", "/logins", self.logins, "One's live logins, last used first",
                bodies.Nothing, Source.QUERY, list[objects.Login], tag=TAG,
            ),
            Route(
                "POST", "/logins/end", self.end_login, "End one of one's logins",
                bodies.LoginId, Source.QUERY, None, (E.NOT_FOUND, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "POST", "/logins/endOthers", self.end_other_logins, "End all of one's logins but this one",
                bodies.Nothing, Source.QUERY, None, tag=TAG,
            ),
            Route(
                "POST", "/user/infos", self.infos, "Users in the order asked, null for an unknown id",
                bodies.UserIds, Source.BODY, list[objects.User | None], (E.FIELD_INVALID,), tag=TAG,
            ),
            Route(
                "POST", "/user/info", self.update, "Change one's nickname and avatar",
                bodies.Profile, Source.BODY, None, (E.FIELD_INVALID,), tag=TAG,
            ),
            Route(
                "GET", "/user/search", self.search, "Users whose user name starts with the keyword, by id",
                bodies.Search, Source.QUERY, list[objects.FoundUser], (E.FIELD_INVALID,), tag=TAG,
            ),
            Route(
                "GET", "/user/settings", self.wallpaper, "One's settings, null if there are none",
                bodies.Nothing, Source.QUERY, objects.Settings | None, tag=TAG,
            ),
            Route(
                "POST", "/user/settings", self.set_wallpaper, "Change one's settings",
                bodies.Wallpaper, Source.BODY, None, (E.FIELD_INVALID,), tag=TAG,
            ),
        ]  # fmt: skip


def _new_login(new: NewLogin) -> objects.NewLogin:
    return objects.NewLogin(user_id=new.user_id, token=new.token)
