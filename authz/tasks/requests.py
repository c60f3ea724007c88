"""Access requests as a store keeps them: in goes one, out comes a JSON text, and back."""

from pydantic import ValidationError

from authz.core.approval import AccessRequest
from authz.documents import Document
from authz.tasks.records import NotARecord


class _Stored(Document):
    task: str
    agent: str
    action: str
    resource: str
    parameters: tuple[tuple[str, str], ...]
    arguments: str
    kinds: tuple[str, ...]


def request_document(request: AccessRequest) -> str:
    """The stored form of an access request; raises NotARecord where it could not be read back."""
    try:
        return _Stored(
            task=request.task_id,
            agent=request.agent,
            action=request.action,
            resource=request.resource,
            parameters=request.parameters,
            arguments=request.arguments_digest,
            kinds=tuple(sorted(request.kinds)),
        ).model_dump_json()
    except (ValidationError, ValueError) as error:
        raise NotARecord(f"the access request cannot be kept: {error}") from error


def read_request(document: bytes) -> AccessRequest:
    """The access request; raises NotARecord."""
    try:
        stored = _Stored.model_validate_json(document)
    except ValidationError as error:
        raise NotARecord(f"the access request cannot be read: {error.error_count()} errors") from error
    return AccessRequest(
        task_id=stored.task,
        agent=stored.agent,
        action=stored.action,
        resource=stored.resource,
        parameters=stored.parameters,
        arguments_digest=stored.arguments,
        kinds=frozenset(stored.kinds),
    )
