"""The SQS queue that EventBridge rules fill with news about instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from autoctl.aws.call import Caller

_VISIBILITY_SECONDS = 20
MOST_MESSAGES = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A message as received; `receipt` deletes it."""

    body: str
    receipt: str
    sent_at: datetime | None


class Queue:
    """Receive and delete, by the queue's name or URL."""

    def __init__(self, sqs: Caller, name: str) -> None:
        self._sqs = sqs
        self._name = name
        self._url: str | None = name if name.startswith("https://") else None

    async def receive(self, wait_seconds: int = 20) -> list[Message]:
        """Up to ten messages, waiting for the first."""
        answer = await self._sqs(
            "receive_message",
            QueueUrl=await self._resolve(),
            MaxNumberOfMessages=MOST_MESSAGES,
            VisibilityTimeout=_VISIBILITY_SECONDS,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [
            Message(m.get("Body", ""), m["ReceiptHandle"], _sent(m.get("Attributes", {})))
            for m in answer.get("Messages", ())
        ]

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete received messages; those that fail come again, which is harmless."""
        if not messages:
            return
        await self._sqs(
            "delete_message_batch",
            QueueUrl=await self._resolve(),
            Entries=[
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(messages)
            ],
        )

    async def _resolve(self) -> str:
        if self._url is None:
            answer = await self._sqs("get_queue_url", QueueName=self._name)
            self._url = str(answer["QueueUrl"])
        return self._url


def _sent(attributes: dict[str, str]) -> datetime | None:
    stamp = attributes.get("SentTimestamp")
    return datetime.fromtimestamp(int(stamp) / 1000, UTC) if stamp else None
