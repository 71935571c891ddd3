"""Publishing single messages for which JetStream's word is awaited."""

from typing import Final

from nats.errors import Error as ClientError
from nats.errors import TimeoutError as NoAnswerError
from nats.js.errors import APIError, NoStreamResponseError

from operators.jetstream import Link, NatsAwayError, NatsError
from schemas.base import Message

ACK_S: Final = 5.0
TRIES: Final = 2


async def publish_acknowledged(link: Link, subject: str, message: Message, msg_id: str | None = None) -> int:
    """Publish one message and wait until JetStream has stored it; return its sequence.

    With a msg_id it is sent once more when no acknowledgement comes within 5 s: JetStream stores it
    once. Without one it is sent once.

    Raises:
        NatsError: when no stream takes the subject, or JetStream refuses the message.
        NatsAwayError: when NATS does not answer; the message may or may not be stored.
    """
    headers = {"Nats-Msg-Id": msg_id} if msg_id is not None else None
    where = f"NATS at {link.config.shown}"
    for left in reversed(range(TRIES if msg_id is not None else 1)):
        try:
            stored = await link.client.jetstream().publish(subject, message.to_json(), timeout=ACK_S, headers=headers)
            return int(stored.seq)
        except NoStreamResponseError as error:
            raise NatsError(f"{where}: no stream takes {subject}; start the flows once, they make it") from error
        except APIError as error:
            raise NatsError(f"{where} refused a message on {subject}: {error.description}") from error
        except (NoAnswerError, TimeoutError) as error:
            if not left:
                raise NatsAwayError(f"{where} did not acknowledge {subject} within {ACK_S:g} s; try again") from error
        except (ClientError, OSError) as error:
            raise NatsAwayError(f"{where}: {error}; {subject} was not acknowledged, try again") from error
    raise AssertionError("unreachable")
