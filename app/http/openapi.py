"""The published interface, OpenAPI 3.1, made of routes and operations. Nothing is described twice."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from app.domain.identifiers import MAX_KEY_LENGTH
from app.http.answers import Error
from app.http.errors import code_of_status
from app.http.operations import Operation, Resource
from app.services.access import HOUSE_ACTIONS

_TITLE = "Balance service"
_VERSION = "0.1.0"
_DESCRIPTION = (
    "Owns the chips of a poker platform. Amounts are whole chips, times are UTC. Every answer carries"
    " `X-Request-Id`, the caller's own where it sent one."
)
_JSON = "application/json"
_JSON_LINES = "application/x-ndjson"
_PLAYERS_ACCOUNT = "[A-Za-z0-9._:@-]{1,128}"
_HOUSE_ACCOUNT = r"\$house-[0-9]{3}"
_TRANSACTION = "[0-9]{3}-[a-z2-7]{26}"
_KEY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": True,
    "description": "The same key gives the same outcome; with another body it is refused.",
    "schema": {"type": "string", "format": "printable", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
}
_CODES = {
    HTTPStatus.OK: "OK",
    HTTPStatus.CREATED: "Created",
    HTTPStatus.ACCEPTED: "Queued for good",
    HTTPStatus.CONFLICT: "Refused by the state",
    HTTPStatus.UNPROCESSABLE_ENTITY: "IDEMPOTENCY_KEY_REUSED",
}
_RETRY_AFTER = {"description": "Seconds to wait", "schema": {"type": "integer"}}
_HEADERS: Mapping[HTTPStatus, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": _RETRY_AFTER},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": _RETRY_AFTER},
}
_STALE_HEADERS: Mapping[str, dict[str, Any]] = {
    "Balance-Stale": {
        "description": "There while the store is away: the answer is what was known last",
        "schema": {"const": "true"},
    },
    "Balance-As-Of": {
        "description": "When it was known; there with Balance-Stale",
        "schema": {"type": "string", "format": "date-time"},
    },
}


def document(routes: Mapping[str, Resource]) -> dict[str, Any]:
    """The document, of all operations that are published."""
    spec = APISpec(
        title=_TITLE,
        version=_VERSION,
        openapi_version="3.1.0",
        info={"description": _DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        plugins=[MarshmallowPlugin()],
        security=[{"token": []}],
        servers=[{"url": "/"}],
    )
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    for path, resource in routes.items():
        operations = {
            method.lower(): _described(path, operation)
            for method, operation in resource.operations.items()
            if operation.name
        }
        if operations:
            spec.path(_in_camel_case(path), operations=operations)
    described: dict[str, Any] = spec.to_dict()
    return described


def _described(path: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": list(_parameters(path, operation)),
        "responses": _responses(path, operation),
    }
    if operation.access is None:
        described["security"] = []
    if content := _request_content(operation):
        described["requestBody"] = {"required": True, "content": content}
    return described


def _request_content(operation: Operation) -> dict[str, Any]:
    """What the body is; of JSON lines the schema is that of one line."""
    if operation.json_lines is not None:
        return {_JSON_LINES: {"schema": operation.json_lines}}
    if operation.bodies:
        return {_JSON: {"schema": {"oneOf": list(operation.bodies.values())}}}
    return {_JSON: {"schema": operation.body}} if operation.body is not None else {}


def _parameters(path: str, operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", path):
        schema = {"type": "string", "pattern": _pattern(name, operation)}
        yield {"in": "path", "name": _in_camel_case(name), "required": True, "schema": schema}
    if operation.keyed:
        yield _KEY_PARAMETER
    if operation.query is not None:
        yield {"in": "query", "schema": operation.query}


def _pattern(name: str, operation: Operation) -> str:
    if name in ("transaction_id", "command_id"):
        return f"^{_TRANSACTION}$"
    ids = [_PLAYERS_ACCOUNT] + [_HOUSE_ACCOUNT] * (operation.access in HOUSE_ACTIONS)
    return f"^({'|'.join(ids)})$"


def _responses(path: str, operation: Operation) -> dict[str, Any]:
    responses = {
        str(status.value): _response(status, schema, operation)
        for status, schema in operation.answers.items()
    }
    errors = {*operation.errors, *_common_errors(path, operation)} - operation.answers.keys()
    responses |= {str(status.value): _response(status, Error, operation) for status in sorted(errors)}
    return responses | {"default": {"description": "Any other error", **_content(Error)}}


def _common_errors(path: str, operation: Operation) -> Iterator[HTTPStatus]:
    if operation.access is not None:
        yield HTTPStatus.UNAUTHORIZED
        yield HTTPStatus.FORBIDDEN
        yield HTTPStatus.TOO_MANY_REQUESTS
        yield HTTPStatus.SERVICE_UNAVAILABLE
    has_body = bool(_request_content(operation))
    if has_body or operation.query or "account_id" in path:
        yield HTTPStatus.BAD_REQUEST
    if has_body:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        yield HTTPStatus.GATEWAY_TIMEOUT
    if operation.keyed:
        yield HTTPStatus.UNPROCESSABLE_ENTITY


def _response(status: HTTPStatus, schema: type[Schema], operation: Operation) -> dict[str, Any]:
    response = {"description": _CODES.get(status) or code_of_status(status), **_content(schema)}
    headers = dict(_HEADERS.get(status, {}))
    if operation.keyed and status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT):
        headers["Idempotent-Replayed"] = {
            "description": "There when the key had its outcome already",
            "schema": {"const": "true"},
        }
    if operation.may_be_stale and status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        headers |= _STALE_HEADERS
    if status is HTTPStatus.ACCEPTED:
        headers["Location"] = {"description": "Where to look it up", "schema": {"type": "string"}}
    if headers:
        response["headers"] = headers
    if links := operation.links if status in operation.answers else ():
        response["links"] = {
            operation_id: {"operationId": operation_id, "parameters": dict(parameters)}
            for operation_id, parameters in links
        }
    return response


def _content(schema: type[Schema]) -> dict[str, Any]:
    return {"content": {_JSON: {"schema": schema}}}


def _in_camel_case(text: str) -> str:
    return re.sub(r"_(.)", lambda match: match[1].upper(), text)
