"""Simulated SQS, and the EventBridge rules that fill the interruption queue.

Messages have the shapes that EventBridge gives EC2's and AWS Health's events.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

RETENTION = timedelta(days=4)
BATCH = 10


@dataclass
class Message:
    message_id: str
    body: str
    sent_at: datetime
    hidden_until: datetime
    receives: int = 0

    @property
    def receipt(self) -> str:
        return f"{self.message_id}#{self.receives}"


class Queue:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.visibility = 30
        self.messages: dict[str, Message] = {}
        self.arrival = asyncio.Event()


class Sqs(Service):
    """Queues by name. The queue named like the cluster exists and receives EC2's events."""

    name = "sqs"

    def __init__(self, cloud: SimulatedCloud) -> None:
        super().__init__(cloud)
        self.queues: dict[str, Queue] = {}
        self._add(cloud.settings.cluster)

    def _add(self, name: str) -> Queue:
        url = f"https://sqs.{self.cloud.region}.amazonaws.com/{ACCOUNT}/{name}"
        queue = Queue(name, url)
        self.queues[name] = queue
        return queue

    def _queue(self, params: Params) -> Queue:
        name = params["QueueUrl"].rpartition("/")[2]
        if name not in self.queues:
            raise AwsFailure(
                "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
            )
        return self.queues[name]

    def create_queue(self, params: Params) -> Answer:
        queue = self.queues.get(params["QueueName"]) or self._add(params["QueueName"])
        attributes = params.get("Attributes", {})
        queue.visibility = int(attributes.get("VisibilityTimeout", queue.visibility))
        return {"QueueUrl": queue.url}

    def get_queue_url(self, params: Params) -> Answer:
        return {"QueueUrl": self._queue({"QueueUrl": params["QueueName"]}).url}

    def get_queue_attributes(self, params: Params) -> Answer:
        queue = self._queue(params)
        now = self.cloud.now()
        waiting = sum(message.hidden_until <= now for message in queue.messages.values())
        return {
            "Attributes": {
                "QueueArn": f"arn:aws:sqs:{self.cloud.region}:{ACCOUNT}:{queue.name}",
                "VisibilityTimeout": str(queue.visibility),
                "ApproximateNumberOfMessages": str(waiting),
                "ApproximateNumberOfMessagesNotVisible": str(len(queue.messages) - waiting),
            }
        }

    def send_message(self, params: Params) -> Answer:
        message = self._send(self._queue(params), params["MessageBody"])
        return {"MessageId": message.message_id, "MD5OfMessageBody": _md5(message.body)}

    def _send(self, queue: Queue, body: str) -> Message:
        now = self.cloud.now()
        bits = f"{self.cloud.random.getrandbits(128):032x}"
        message_id = f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
        message = Message(message_id, body, now, now)
        self._expire(queue)
        queue.messages[message_id] = message
        queue.arrival.set()
        return message

    def _expire(self, queue: Queue) -> None:
        """Drop messages that were kept long enough; the oldest come first."""
        now = self.cloud.now()
        while queue.messages:
            oldest = next(iter(queue.messages.values()))
            if now - oldest.sent_at <= RETENTION:
                return
            del queue.messages[oldest.message_id]

    async def wait(self, **params: Any) -> None:
        """Wait as a long poll with these parameters does, in the loop's time.

        Where the account's settings leave out empty polls, it lasts until there is a message.
        """
        queue = self.queues.get(params["QueueUrl"].rpartition("/")[2])
        if queue is None:
            return
        deadline = self.cloud.now() + timedelta(seconds=params.get("WaitTimeSeconds", 0))
        endless = deadline > self.cloud.now() and not self.cloud.settings.empty_polls
        while not self.has_message(queue.url) and (endless or self.cloud.now() < deadline):
            queue.arrival.clear()
            hidden = [message.hidden_until for message in queue.messages.values()]
            if endless and not hidden:
                await queue.arrival.wait()
                continue
            limits = hidden if endless else [deadline, *hidden]
            seconds = (min(limits) - self.cloud.now()).total_seconds()
            try:
                async with asyncio.timeout(seconds):
                    await queue.arrival.wait()
            except TimeoutError:
                continue

    def has_message(self, queue_url: str) -> bool:
        """Whether a receive call would get one now."""
        now = self.cloud.now()
        queue = self._queue({"QueueUrl": queue_url})
        return any(message.hidden_until <= now for message in list(queue.messages.values()))

    def receive_message(self, params: Params) -> Answer:
        """Answers at once, also to a long poll: see `wait`."""
        queue = self._queue(params)
        now = self.cloud.now()
        self._expire(queue)
        most = params.get("MaxNumberOfMessages", 1)
        if not 1 <= most <= BATCH:
            raise AwsFailure(
                "InvalidParameterValue",
                f"Value {most} for parameter MaxNumberOfMessages is invalid. Reason: Must be "
                "between 1 and 10, if provided.",
            )
        hidden = timedelta(seconds=params.get("VisibilityTimeout", queue.visibility))
        found: list[dict[str, Any]] = []
        for message in queue.messages.values():
            if len(found) == most:
                break
            if message.hidden_until <= now:
                message.hidden_until = now + hidden
                message.receives += 1
                found.append(
                    {
                        "MessageId": message.message_id,
                        "ReceiptHandle": message.receipt,
                        "MD5OfBody": _md5(message.body),
                        "Body": message.body,
                        "Attributes": {
                            "SentTimestamp": str(int(message.sent_at.timestamp() * 1000)),
                            "ApproximateReceiveCount": str(message.receives),
                        },
                    }
                )
        return {"Messages": found} if found else {}

    def delete_message(self, params: Params) -> Answer:
        self._delete(self._queue(params), params["ReceiptHandle"])
        return {}

    def _delete(self, queue: Queue, receipt: str) -> None:
        message_id, mark, _ = receipt.partition("#")
        if not mark:
            raise AwsFailure(
                "ReceiptHandleIsInvalid", f'The input receipt handle "{receipt}" is not valid.'
            )
        queue.messages.pop(message_id, None)

    def delete_message_batch(self, params: Params) -> Answer:
        queue = self._queue(params)
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in params["Entries"]:
            try:
                self._delete(queue, entry["ReceiptHandle"])
            except AwsFailure as failure:
                failed.append(
                    {
                        "Id": entry["Id"],
                        "SenderFault": True,
                        "Code": failure.code,
                        "Message": failure.message,
                    }
                )
            else:
                done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}

    def publish(
        self, source: str, detail_type: str, detail: dict[str, Any], arns: list[str]
    ) -> None:
        """Deliver an event as the rules of the cluster's queue would."""
        now = self.cloud.now()
        event = {
            "version": "0",
            "id": f"{self.cloud.random.getrandbits(128):032x}",
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self.cloud.region,
            "resources": arns,
            "detail": detail,
        }
        self._send(self.queues[self.cloud.settings.cluster], json.dumps(event))

    def _arn(self, instance: InstanceRecord) -> str:
        return f"arn:aws:ec2:{self.cloud.region}:{ACCOUNT}:instance/{instance.instance_id}"

    def state_changed(self, instance: InstanceRecord) -> None:
        self.publish(
            "aws.ec2",
            "EC2 Instance State-change Notification",
            {"instance-id": instance.instance_id, "state": instance.state},
            [self._arn(instance)],
        )

    def interrupted(self, instance: InstanceRecord) -> None:
        self.publish(
            "aws.ec2",
            "EC2 Spot Instance Interruption Warning",
            {"instance-id": instance.instance_id, "instance-action": "terminate"},
            [self._arn(instance)],
        )

    def rebalance_recommended(self, instance: InstanceRecord) -> None:
        self.publish(
            "aws.ec2",
            "EC2 Instance Rebalance Recommendation",
            {"instance-id": instance.instance_id},
            [self._arn(instance)],
        )

    def scheduled_change(self, instance: InstanceRecord, code: str) -> None:
        now = self.cloud.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
        self.publish(
            "aws.health",
            "AWS Health Event",
            {
                "eventArn": f"arn:aws:health:{self.cloud.region}::event/EC2/{code}",
                "service": "EC2",
                "eventTypeCode": f"AWS_EC2_{code.upper().replace('-', '_')}_SCHEDULED",
                "eventTypeCategory": "scheduledChange",
                "startTime": now,
                "eventDescription": [{"language": "en_US", "latestDescription": code}],
                "affectedEntities": [{"entityValue": instance.instance_id}],
            },
            [instance.instance_id],
        )


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
