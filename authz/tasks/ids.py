"""What may be looked up at all: in goes a text, out comes nothing, or NoSuchTask."""

from authz.core.acts import NoSuchTask
from authz.core.errors import Refused
from authz.core.task import parse_task_id


def must_be_an_id(task_id: str) -> None:
    """Nothing else is looked up; raises NoSuchTask, for there is none of such an id."""
    try:
        parse_task_id((task_id,))
    except Refused as refused:
        raise NoSuchTask(task_id) from refused
