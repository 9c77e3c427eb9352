"""TorchServe's inference service over gRPC: handlers see what it shows them, and clients its own words.

Thin: the messages are maps of bytes, and the rest is what the REST API does, too.
"""

import uuid
from typing import Any, Final

from google.protobuf.message import DecodeError

from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.errors import DragomanError, InvalidInput, TooLarge
from dragoman.protobuf.wire import Malformed, TooMany, cut
from dragoman.protocols.torchserve import codec
from dragoman.protocols.torchserve.errors import encode_json
from dragoman.protocols.torchserve.finding import find
from dragoman.protocols.torchserve.grpc_errors import Told, missing, tell_prediction
from dragoman.protocols.torchserve.messages import (
    INFERENCE,
    Empty,
    ErrorInfo,
    PredictionResponse,
    PredictionsRequest,
    TorchServeHealthResponse,
)
from dragoman.protocols.torchserve.multipart import MAX_FIELDS, Field
from dragoman.scheduling.scheduler import Outcome, Reply, Ticket
from dragoman.transport.grpc.call import Call, Shape
from dragoman.transport.grpc.routes import Routes
from dragoman.types import InferResponse

DIALECT: Final = "torchserve-grpc"

#: Requests of one stream that may be open at once; the client's next one is read when one of them has its answer.
MOST: Final = 256
_INPUT: Final = PredictionsRequest.DESCRIPTOR.fields_by_name["input"].number
#: Bytes of answers that may wait for the client before its next request is read.
UNREAD: Final = 1_048_576


class Grpc:
    """Handlers over one engine. ``names`` are the headers in which a stateful one looks for its sequence."""

    def __init__(self, engine: Engine, names: codec.SequenceHeaders = codec.SEQUENCE_HEADERS) -> None:
        self._engine = engine
        self._names = names

    def add_services(self, routes: Routes) -> None:
        routes.add(INFERENCE, "Ping", Shape.UNARY, self.ping, "health", permit=False)
        routes.add(INFERENCE, "Predictions", Shape.UNARY, self.predictions, "inference")
        routes.add(INFERENCE, "StreamPredictions", Shape.SERVER_STREAM, self.stream_predictions, "inference")
        routes.add(INFERENCE, "StreamPredictions2", Shape.BIDI, self.stream_predictions_2, "inference")

    def ping(self, call: Call) -> None:
        decode(Empty, call.message)
        status = "Healthy" if self._engine.healthy else "Unhealthy"
        health = encode_json({"status": status}).decode().rstrip("\n")
        call.respond(TorchServeHealthResponse(health=health).SerializeToString())

    def predictions(self, call: Call) -> None:
        """One answer; of a handler that answers in parts the first one, as in TorchServe."""
        self._predict(call, streamed=False)

    def stream_predictions(self, call: Call) -> None:
        """Every part of the answer as it is made."""
        self._predict(call, streamed=True)

    def stream_predictions_2(self, call: Call) -> None:
        """Requests of one sequence, or of several, and their answers."""
        _Conversation(self, call).ask()

    def _predict(self, call: Call, *, streamed: bool) -> None:
        request = decode_prediction(call.message)
        name, version = request.model_name, request.model_version
        if not name:
            _fail(call, missing("model_name"))
            return

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                _fail(call, tell_prediction(outcome, name, version))
            elif not streamed:
                call.respond(encode_prediction(outcome))
            else:
                call.send(encode_prediction(outcome))
                if outcome.final:
                    call.end()

        try:
            _, entry = self.submit(request, call, reply)
        except DragomanError as error:
            _fail(call, tell_prediction(error, name, version))
            return
        if entry is not None:
            call.on_cancel = entry.leave

    def submit(
        self, request: Any, call: Call, reply: Reply, sequence: dict[str, Any] | None = None
    ) -> tuple[Model, Ticket | None]:
        """Ask the model that a ``PredictionsRequest`` names. Raises DragomanError."""
        model = find(self._engine, request.model_name, request.model_version, DIALECT, call.header)
        inputs = {name: Field(name, value, "") for name, value in request.input.items()}
        headers: dict[str, str] = {}
        if sequence is not None:
            headers[self._names.id] = sequence["sequence_id"]
            if sequence["sequence_start"]:
                headers[self._names.start] = "true"
        parameters = sequence if model.settings.sequences else None
        asked = codec.make_request(model.name, model.version, str(uuid.uuid4()), inputs, headers, parameters)
        asked.deadline = call.deadline
        return model, model.infer(asked, reply, DIALECT)


class _Conversation:
    """One call of ``StreamPredictions2``: what fails is an answer like others, and the stream goes on."""

    def __init__(self, api: Grpc, call: Call) -> None:
        self._api = api
        self._call = call
        self._open: set[_Turn] = set()
        self._sequences: dict[tuple[str, str, str], Model] = {}
        self._asking = self._complete = self._over = False
        call.on_cancel = self._stop
        call.on_sent = self.ask

    def ask(self) -> None:
        """Read the client's next request, unless enough is open."""
        if self._asking or self._complete or self._over:
            return
        if len(self._open) < MOST and self._call.unsent < UNREAD:
            self._asking = True
            self._call.receive(self._take)

    def send(self, message: bytes) -> None:
        self._call.send(message)

    def close(self, turn: "_Turn") -> None:
        """A request has all of its answer."""
        self._open.discard(turn)
        self._go_on()

    def submit(self, request: Any, reply: Reply) -> Ticket | None:
        """Raises DragomanError."""
        key = (request.model_name, request.model_version, request.sequence_id)
        sequence = {
            "sequence_id": request.sequence_id,
            "sequence_start": key not in self._sequences,
            "sequence_end": False,
        }
        model, entry = self._api.submit(request, self._call, reply, sequence)
        self._sequences[key] = model
        return entry

    def _take(self, message: bytes | None) -> None:
        self._asking = False
        if message is None:
            self._complete = True
        else:
            turn = _Turn(self)
            self._open.add(turn)
            turn.begin(message)
        self._go_on()

    def _go_on(self) -> None:
        if not self._complete:
            self.ask()
        elif not self._open and not self._over:
            self._over = True
            self._finish_sequences()
            self._call.end()

    def _stop(self) -> None:
        """Nobody waits for any answer."""
        self._over = True
        for turn in tuple(self._open):
            turn.leave()
        self._finish_sequences()

    def _finish_sequences(self) -> None:
        for (_, _, id_), model in self._sequences.items():
            model.finish_sequence(id_)


class _Turn:
    """One request of a conversation."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation
        self._entry: Ticket | None = None
        self._name = self._version = ""

    def begin(self, message: bytes) -> None:
        try:
            request = decode_prediction(message)
            self._name, self._version = request.model_name, request.model_version
            for parameter, value in (("sequenceId", request.sequence_id), ("model_name", self._name)):
                if not value:
                    self._refuse(missing(parameter))
                    return
            self._entry = self._conversation.submit(request, self._reply)
        except DragomanError as error:
            self._refuse(tell_prediction(error, self._name, self._version))

    def leave(self) -> None:
        if self._entry is not None:
            self._entry.leave()

    def _reply(self, outcome: Outcome) -> None:
        if not isinstance(outcome, InferResponse):
            self._refuse(tell_prediction(outcome, self._name, self._version))
            return
        self._conversation.send(encode_prediction(outcome))
        if outcome.final:
            self._conversation.close(self)

    def _refuse(self, told: Told) -> None:
        self._conversation.send(encode_refusal(told))
        self._conversation.close(self)


def decode(kind: Any, message: bytes) -> Any:
    """A message of the class ``kind``. Raises InvalidInput."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidInput("Unable to parse request") from None


def decode_prediction(message: bytes) -> Any:
    """A ``PredictionsRequest``, which has no more inputs than a form. Raises InvalidInput, TooLarge."""
    try:  # before the runtime makes something of each field, which takes a hundred times its bytes
        cut(message, _INPUT, MAX_FIELDS)
    except TooMany:
        raise TooLarge(f"a request has at most {MAX_FIELDS} inputs") from None
    except Malformed:
        pass  # the runtime's decision
    return decode(PredictionsRequest, message)


def encode_prediction(outcome: InferResponse) -> bytes:
    """An answer, or a part of one. What a handler says of status and headers has no place in it. Raises ModelFailed."""
    return bytes(PredictionResponse(prediction=codec.encode_answer(outcome).body).SerializeToString())


def encode_refusal(told: Told) -> bytes:
    """A failure as an answer."""
    response = PredictionResponse()
    response.status.code = told.status
    response.status.message = told.message
    response.status.details.add().Pack(ErrorInfo(reason=told.reason))
    return bytes(response.SerializeToString())


def _fail(call: Call, told: Told) -> None:
    call.fail(told.status, told.details)
