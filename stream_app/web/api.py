"""The HTTP API: routes over the read model, and the page that is served beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from stream_app import __version__
from stream_app.web.access import COOKIE, Gate, Tokens
from stream_app.web.answers import Problem
from stream_app.web.change_routes import change_routes
from stream_app.web.change_stream import ChangeHub
from stream_app.web.customer_routes import customer_routes
from stream_app.web.problems import ProblemError, install_problems
from stream_app.web.read_model import ReadModel
from stream_app.web.segment_routes import segment_routes
from stream_app.web.series_routes import series_routes
from stream_app.web.settings import WebSettings
from stream_app.web.status_routes import status_routes

_DESCRIPTION = (
    "Who is in which segment, why, and what is changing. Every answer says as of when it is (`as_of`, and the header "
    "`As-Of`) and has a weak `ETag`; every error is `application/problem+json`."
)
_SESSION_SECONDS = 12 * 3600

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


def create_api(
    model: ReadModel,
    settings: WebSettings,
    *,
    lifespan: Lifespan = _nothing,
    on_rebuild: Callable[[], None] | None = None,
) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    model
        What it knows; filled by whoever follows the topics, or by a test.
    settings
        Access and limits.
    lifespan
        What runs beside it, such as following topics.
    on_rebuild
        Has everything read again from the topics; None: that is not on offer.

    Returns
    -------
    FastAPI
        With the page at `/`.
    """
    api = FastAPI(
        title="stream-app",
        version=__version__,
        description=_DESCRIPTION,
        # The documentation pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={422: {"model": Problem}},
    )
    hub = ChangeHub(model, settings)
    api.state.hub = hub
    install_problems(api)
    api.include_router(customer_routes(model))
    api.include_router(segment_routes(model))
    api.include_router(change_routes(model, hub))
    api.include_router(series_routes(model))
    api.include_router(status_routes(model, hub))
    _add_session(api, settings)
    _add_administration(api, on_rebuild)
    page = Path(str(files("stream_app.web").joinpath("page")))
    # Beside the routes, not mounted among them: a mount at / would answer for a route that takes another method.
    api.router.default = StaticFiles(directory=page, html=True, check_dir=False)
    api.add_middleware(Gate, settings=settings)
    return api


def _add_session(api: FastAPI, settings: WebSettings) -> None:
    """Let a page hand in its token once, to be kept where no script can read it: event streams send no headers."""
    tokens = Tokens(settings)

    @api.post("/v1/session", status_code=204, include_in_schema=False)
    async def open_session(request: Request) -> Response:
        token = (await request.body()).decode("utf-8", "replace").strip()
        if tokens.are_required and not tokens.roles(token):
            raise ProblemError(401, "token_needed", "this token is not known", {"WWW-Authenticate": "Bearer"})
        response = Response(status_code=204)
        if tokens.are_required:
            response.set_cookie(
                COOKIE,
                token,
                max_age=_SESSION_SECONDS,
                path="/",
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
        return response

    @api.delete("/v1/session", status_code=204, include_in_schema=False)
    async def close_session() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/")
        return response


def _add_administration(api: FastAPI, on_rebuild: Callable[[], None] | None) -> None:
    @api.post("/v1/admin/rebuild", status_code=202, tags=["administration"], response_class=Response)
    async def rebuild() -> Response:
        """Throw away what was read, and read everything again from the topics."""
        if on_rebuild is None:
            raise ProblemError(404, "not_offered", "this server has no topics to read from")
        on_rebuild()
        return Response(status_code=202)
